import type { ServerReport } from '../../core/control-protocol.ts';
import type { Id } from '../../core/ids.ts';
import { roleOf, type ServerRole } from '../../core/server-role.ts';
import { databaseTimeAnd } from '../db/shared/clock.ts';
import { listSharedTree } from '../db/shared/servers.ts';
import { listAncestors } from '../db/trusted-servers.ts';
import { SILENT_MS } from '../shared/heartbeat.ts';
import type { Shared } from '../shared/open.ts';
import type { Site } from '../site.ts';

/** Without a shared database a server shows itself with its reports, at least every five minutes. */
const SILENT_BY_LINK_MS = 660_000;

/** Where a server stands among the others, told the same whether they meet in a database or by links alone. */
export type Place = {
  readonly role: ServerRole;
  /** Name of the server above it; null: none, or not known here. */
  readonly parent: string | null;
  /** Name of the one that it is to have (shared database); null: none, or nobody wishes. */
  readonly wishedParent: string | null;
  /** Heard last. */
  readonly heartbeatAt: string | null;
  readonly heartbeatAgeSeconds: number | null;
  readonly silent: boolean;
  readonly version: string | null;
};

/** What is known of a server besides its place. */
export type Placeable = {
  readonly id: string;
  readonly name: string;
  readonly relation: string;
  readonly state: string;
  readonly via: string | null;
  readonly seenAt: string | null;
  readonly reportedAt: string | null;
  readonly status: ServerReport | null;
  readonly contentOnly: boolean;
};

type Registry = Awaited<ReturnType<typeof readRegistry>>;

/** Gives each server its place. Those that only the shared database knows count for the roles as well. */
export async function findPlaces(site: Site, servers: readonly Placeable[]): Promise<Map<string, Place>> {
  const registry = site.shared === undefined ? undefined : await lastRegistry(site.shared);
  const above = await linksUpwards(site, servers, registry);
  const parents = new Set(above.values());
  const ancestors = (await listAncestors(site.db)).map(({ serverId, name }) => ({ id: serverId, name }));
  const names = new Map<string, string>([...ancestors, ...(registry?.servers ?? []), ...servers].map(({ id, name }) => [id, name]));
  const nameOf = (id: string | null | undefined) => (id ? (names.get(id) ?? id) : null);
  const place = (server: Placeable): Place => {
    const row = registry?.servers.find(({ id }) => id === server.id);
    return {
      role: roleOf({ hasParent: above.has(server.id), hasChildren: parents.has(server.id) }),
      parent: nameOf(above.get(server.id)),
      wishedParent: nameOf(row?.parentId),
      ...heartbeatOf(site, server, row && registry && { at: row.heartbeatAt, now: registry.now }),
      version: server.status?.version ?? row?.version ?? null,
    };
  };
  return new Map(servers.map((server) => [server.id, place(server)]));
}

/** Who stands directly below whom, as far as it is known here: what each says of itself goes before what is wished and what is guessed. */
async function linksUpwards(site: Site, servers: readonly Placeable[], registry: Registry | undefined): Promise<Map<string, string>> {
  const above = new Map<string, string>();
  const parent = servers.find(({ relation }) => relation === 'parent');
  const [grandparent] = await listAncestors(site.db);
  for (const row of registry?.servers ?? []) if (row.state === 'active' && row.parentId !== null) above.set(row.id, row.parentId);
  for (const server of servers) {
    if (server.contentOnly || server.state !== 'active') continue;
    const said = parentSaid(server.status);
    const guess = guessParent(server, { self: site.self.id, parent: parent?.id, grandparent: grandparent?.serverId as Id, servers });
    if (said !== undefined) set(above, server.id, said);
    else if (guess !== undefined && (server.relation !== 'peer' || !above.has(server.id))) set(above, server.id, guess);
  }
  return above;
}

type Near = {
  readonly self: Id;
  readonly parent: string | undefined;
  readonly grandparent: string | undefined;
  readonly servers: readonly Placeable[];
};

function guessParent({ relation, via }: Placeable, { self, parent, grandparent, servers }: Near): string | null | undefined {
  if (relation === 'self') return parent ?? null;
  if (relation === 'child') return self;
  if (relation === 'parent') return grandparent ?? null;
  return via === null ? undefined : servers.find(({ name }) => name === via)?.id;
}

function set(above: Map<string, string>, id: string, parent: string | null): void {
  if (parent === null) above.delete(id);
  else above.set(id, parent);
}

/** The parent in a server's own report; undefined: it is of a release that does not tell. */
function parentSaid(report: ServerReport | null): string | null | undefined {
  return report?.link === undefined ? undefined : (report.link?.parentId ?? null);
}

type Beat = { readonly at: number | null; readonly now: number };

function heartbeatOf(
  site: Site,
  { id, seenAt, reportedAt }: Placeable,
  beat: Beat | undefined,
): Pick<Place, 'heartbeatAt' | 'heartbeatAgeSeconds' | 'silent'> {
  if (beat !== undefined && beat.at !== null) return view(beat.at, beat.now - beat.at, SILENT_MS);
  const now = site.now();
  if (id === site.self.id) return view(now, 0, SILENT_MS);
  const heard = Math.max(...[seenAt, reportedAt].map((time) => (time === null ? Number.NEGATIVE_INFINITY : Date.parse(time))));
  if (!Number.isFinite(heard)) return { heartbeatAt: null, heartbeatAgeSeconds: null, silent: false };
  return view(heard, now - heard, SILENT_BY_LINK_MS);
}

function view(at: number, ageMs: number, silentMs: number): Pick<Place, 'heartbeatAt' | 'heartbeatAgeSeconds' | 'silent'> {
  const age = Math.max(0, ageMs);
  return { heartbeatAt: new Date(at).toISOString(), heartbeatAgeSeconds: Math.round(age / 1000), silent: age > silentMs };
}

/** What was read last stands in while the database is away; its clock goes on by ours. */
const remembered = new WeakMap<Shared, { readonly registry: Registry; readonly at: number }>();

async function lastRegistry(shared: Shared): Promise<Registry | undefined> {
  try {
    const registry = await shared.read('the registry of servers', readRegistry);
    remembered.set(shared, { registry, at: performance.now() });
    return registry;
  } catch {
    // That it is away is told by `state()`; a list of servers is given without it.
    const last = remembered.get(shared);
    return last && { ...last.registry, now: last.registry.now + (performance.now() - last.at) };
  }
}

function readRegistry(db: Parameters<Parameters<Shared['read']>[1]>[0]) {
  return databaseTimeAnd(db, async () => ({ servers: await listSharedTree(db) }));
}
