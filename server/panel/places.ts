import type { Id } from '../../core/ids.ts';
import { roleOf, type ServerRole } from '../../core/server-role.ts';
import type { TreeServer } from '../../core/server-tree.ts';
import type { Peer } from '../db/peers.ts';
import type { ListedServer } from '../db/servers.ts';
import type { Site } from '../site.ts';
import type { TreeFacts } from './facts.ts';
import type { Summary } from './summaries.ts';

/** One place in the tree, before it is put into words. */
export type Place = {
  readonly id: Id;
  readonly name: string;
  readonly relation: TreeServer['relation'];
  readonly known: ListedServer | undefined;
  /** Its row in the shared database, as it was seen last. */
  readonly peer: Peer | undefined;
  readonly parentId: Id | null;
  /** Name of the one above it, also when that has no place here; null: none, or not known. */
  readonly parent: string | null;
  readonly role: ServerRole;
  readonly summary: Summary | undefined;
  readonly reportedAt: number | null;
};

type Unplaced = Omit<Place, 'parent' | 'role'>;

/** Every server that is known, each once, in its place. */
export function listPlaces(site: Pick<Site, 'self'>, facts: TreeFacts): Place[] {
  const { servers, origins, peers, link } = facts;
  const known = servers
    // A server that was a parent before and is none now has no place in the tree.
    .filter(({ id, relation }) => relation !== 'parent' || id === link?.parentId)
    .map((server): Unplaced => ({ ...pick(server), known: server, parentId: placeOf(server, facts), ...toldOf(site, facts, server.id) }));
  const here = new Set(known.map(({ id }) => id));
  const isBeside = (id: Id) => peers.has(id) && (origins.get(id)?.via ?? id) === id;
  const behind = [...origins.values()].filter(({ id }) => !here.has(id) && !isBeside(id));
  const beside = [...peers.values()].filter(({ id }) => !here.has(id) && isBeside(id));
  const all = new Set([...here, ...behind.map(({ id }) => id), ...beside.map(({ id }) => id)]);
  const reported = behind.map(({ id, via }): Unplaced => {
    const told = toldOf(site, facts, id);
    const said = told.summary?.link?.parentId as Id | undefined;
    // What it says of its parent counts when that is there too; else it stands below the child that passes its reports on.
    const parentId = said !== undefined && said !== id && all.has(said) ? said : via;
    const name = told.summary?.name ?? told.peer?.name ?? id;
    return { id, name, relation: 'behind', known: undefined, parentId, ...told };
  });
  const met = beside.map(({ id, name }): Unplaced => {
    return { id, name, relation: 'peer', known: undefined, parentId: parentOfPeer(id, facts), ...toldOf(site, facts, id) };
  });
  return withParents(cutCircles([...known, ...reported, ...met], site.self.id), facts);
}

function withParents(places: readonly Unplaced[], { ancestors }: TreeFacts): Place[] {
  const parents = new Set(places.map(({ parentId }) => parentId));
  const names = new Map(places.map(({ id, name }) => [id, name]));
  return places.map((place): Place => {
    const { id, parentId, relation, summary } = place;
    const above = relation === 'parent' ? ancestors[0] : undefined;
    const parent = parentId === null ? (above ?? null) : (names.get(parentId) ?? parentId);
    return { ...place, parent, role: roleOf({ hasParent: parent !== null || summary?.link != null, hasChildren: parents.has(id) }) };
  });
}

function pick({ id, name, relation }: ListedServer): Pick<Place, 'id' | 'name' | 'relation'> {
  return { id, name, relation };
}

function toldOf({ self }: Pick<Site, 'self'>, facts: TreeFacts, id: Id): Pick<Place, 'peer' | 'summary' | 'reportedAt'> {
  const kept = id === self.id ? facts.self : facts.reports.get(id);
  return { peer: facts.peers.get(id), summary: kept?.summary, reportedAt: kept?.at ?? null };
}

function placeOf({ id, relation, isContentOnly }: ListedServer, facts: TreeFacts): Id | null {
  const { link, origins } = facts;
  if (relation === 'self') return link?.parentId ?? null;
  if (relation === 'parent') return parentOfPeer(id, facts);
  if (!isContentOnly) return null;
  // Who takes only content from us has its place where its reports come from, if anywhere.
  const via = origins.get(id)?.via;
  if (via !== undefined && via !== id) return via;
  return parentOfPeer(id, facts);
}

/** What it says of its parent itself, else what is wished for it: it is told by nobody else. Null when neither is here. */
function parentOfPeer(id: Id, { peers, reports, servers }: TreeFacts): Id | null {
  const parentId = wordOfParent(peers.get(id), reports.get(id)?.summary);
  return parentId !== null && (peers.has(parentId) || servers.some((server) => server.id === parentId)) ? parentId : null;
}

function wordOfParent(peer: Peer | undefined, summary: Summary | undefined): Id | null {
  if (peer?.state !== 'active') return null;
  if (summary?.link !== undefined) return (summary.link?.parentId as Id | undefined) ?? null;
  return peer.parentRevision > 0 ? peer.parentId : null;
}

/** What servers say of their parents is their word: who stands in a circle, or below nothing, is put below this server; a peer beside it. */
function cutCircles(places: readonly Unplaced[], self: Id): Unplaced[] {
  const parentIdOf = ({ relation, parentId }: Unplaced) => (relation === 'child' ? (parentId ?? self) : parentId);
  const byId = new Map(places.map((place) => [place.id, { ...place, parentId: parentIdOf(place) }]));
  const isSound = (place: Unplaced): boolean => {
    const seen = new Set<Id>();
    let at: Unplaced | undefined = byId.get(place.id);
    while (at !== undefined && at.parentId !== null && !seen.has(at.parentId)) {
      seen.add(at.parentId);
      at = byId.get(at.parentId);
    }
    return at !== undefined && !seen.has(place.id);
  };
  return [...byId.values()].map((place) => {
    if (place.relation === 'self' || isSound(place)) return place;
    return { ...place, parentId: place.relation === 'peer' || place.relation === 'parent' ? null : self };
  });
}
