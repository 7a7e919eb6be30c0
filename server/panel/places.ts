import type { Id } from '../../core/ids.ts';
import type { TreeServer } from '../../core/server-tree.ts';
import type { KnownServer } from '../db/servers.ts';
import type { Site } from '../site.ts';
import type { TreeFacts } from './facts.ts';
import type { Summary } from './summaries.ts';

/** One place in the tree, before it is put into words. */
export type Place = {
  readonly id: Id;
  readonly name: string;
  readonly relation: TreeServer['relation'];
  readonly known: KnownServer | undefined;
  readonly parentId: Id | null;
  readonly summary: Summary | undefined;
  readonly reportedAt: number | null;
};

/** Every server that is known, each once, in its place. */
export function listPlaces(site: Pick<Site, 'self'>, facts: TreeFacts): Place[] {
  const { servers, origins, reports, link } = facts;
  const reportOf = (id: Id) => {
    const kept = id === site.self.id ? facts.self : reports.get(id);
    return { summary: kept?.summary, reportedAt: kept?.at ?? null };
  };
  const known = servers
    // A server that was a parent before and is none now has no place in the tree.
    .filter(({ id, relation }) => relation !== 'parent' || id === link?.parentId)
    .map((server): Place => ({ ...pick(server), known: server, parentId: placeOf(server, facts), ...reportOf(server.id) }));
  const here = new Set(known.map(({ id }) => id));
  const behind = [...origins.values()].filter(({ id }) => !here.has(id));
  const all = new Set([...here, ...behind.map(({ id }) => id)]);
  const reported = behind.map(({ id, via }): Place => {
    const report = reportOf(id);
    const told = report.summary?.link?.parentId as Id | undefined;
    // What it says of its parent counts when that is there too; else it stands below the child that passes its reports on.
    const parentId = told !== undefined && told !== id && all.has(told) ? told : via;
    return { id, name: report.summary?.name ?? id, relation: 'behind', known: undefined, parentId, ...report };
  });
  return cutCircles([...known, ...reported]);
}

function pick({ id, name, relation }: KnownServer): Pick<Place, 'id' | 'name' | 'relation'> {
  return { id, name, relation };
}

function placeOf({ id, relation, isContentOnly }: KnownServer, { link, origins }: TreeFacts): Id | null {
  if (relation === 'self') return link?.parentId ?? null;
  if (relation === 'parent') return null;
  // Who takes only content from us has its place where its reports come from, if anywhere.
  const via = origins.get(id)?.via;
  return isContentOnly && via !== undefined && via !== id ? via : null;
}

/** What servers say of their parents is their word: who stands in a circle, or below nothing, is put below this server. */
function cutCircles(places: readonly Place[]): Place[] {
  const self = places.find(({ relation }) => relation === 'self');
  const byId = new Map(places.map((place) => [place.id, place]));
  const isSound = (place: Place): boolean => {
    const seen = new Set<Id>();
    for (let at: Place | undefined = place; at !== undefined; at = at.parentId === null ? undefined : byId.get(at.parentId)) {
      if (seen.has(at.id)) return false;
      seen.add(at.id);
      if (at.relation === 'self' || at.relation === 'child') return true;
    }
    return false;
  };
  return places.map((place) => {
    if (place.relation === 'self' || place.relation === 'parent') return place;
    if (place.relation === 'child' && place.parentId === null) return { ...place, parentId: self?.id ?? null };
    return isSound(place) ? place : { ...place, parentId: self?.id ?? null };
  });
}
