import type { HealthFacts } from '../../core/server-health.ts';
import type { ServerState } from '../../core/server-state.ts';
import type { TreeServer } from '../../core/server-tree.ts';
import { heartbeatOf } from '../control/heartbeat-of.ts';
import type { Site } from '../site.ts';
import type { TreeFacts } from './facts.ts';
import type { Place } from './places.ts';

/** Where a server stands among the others, and what the registry of the shared database says of it. */
export type Standing = Pick<TreeServer, 'state' | 'wishedParent' | 'parentFile' | 'heartbeatAt' | 'heartbeatAgeSeconds' | 'silent'> & {
  /** Of the registry; null where there is none, or it does not say. */
  readonly release: string | null;
};

/** `heardAt`: by links, epoch ms. */
export function standingOf(site: Site, place: Place, { facts, heardAt }: { facts: TreeFacts; heardAt: number | null }): Standing {
  const { registry } = facts;
  const row = registry?.servers.get(place.id);
  const wished = row?.parentId == null ? undefined : registry?.servers.get(row.parentId);
  return {
    state: stateOf(place, row?.state ?? place.peer?.state ?? 'active'),
    wishedParent: wished?.name ?? row?.parentId ?? null,
    parentFile: row?.parentBy === 'file' ? (row.parentFile ?? 'a file') : null,
    ...heartbeatOf(place.id, { isSelf: place.id === site.self.id, heardAt, now: facts.now }, registry),
    release: row?.version ?? null,
  };
}

/** What links say goes first: who has left the database may well be our child. */
function stateOf({ relation, known }: Place, registered: 'active' | 'retired' | 'fenced'): ServerState {
  if (known?.state === 'revoked') return 'revoked';
  return relation === 'peer' || registered === 'fenced' ? registered : 'active';
}

/** How a server that no link leads to is heard by the shared database; null for others: their links say it. */
export function beatOf(
  site: Pick<Site, 'shared'>,
  { relation }: Place,
  { heartbeatAt, heartbeatAgeSeconds, silent }: Pick<Standing, 'heartbeatAt' | 'heartbeatAgeSeconds' | 'silent'>,
): HealthFacts['beat'] {
  if (relation !== 'peer') return null;
  const at = heartbeatAt === null ? null : Date.parse(heartbeatAt);
  return { at, ageMs: (heartbeatAgeSeconds ?? 0) * 1000, isSilent: silent, isAway: site.shared?.state().state === 'unreachable' };
}
