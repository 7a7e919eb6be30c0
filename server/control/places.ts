import type { ServerReport } from '../../core/control-protocol.ts';
import type { Id } from '../../core/ids.ts';
import { roleOf, type ServerRole } from '../../core/server-role.ts';
import type { ServerState } from '../../core/server-state.ts';
import { listAncestors } from '../db/trusted-servers.ts';
import { lastRegistry, type Registry } from '../shared/last-registry.ts';
import type { Site } from '../site.ts';
import { type Heartbeat, heartbeatOf } from './heartbeat-of.ts';

/** Where a server stands among the others, told the same whether they meet in a database or by links alone. */
export type Place = Heartbeat & {
  readonly role: ServerRole;
  /** What it is by links, and `fenced` by the registry of a shared database. */
  readonly state: ServerState;
  /** Name of the server above it; null: none, or not known here. */
  readonly parent: string | null;
  /** Name of the one that it is to have (shared database); null: none, or nobody wishes. */
  readonly wishedParent: string | null;
  /** The file that says so ("site apply"), in words: its parent is set nowhere else. */
  readonly parentFile: string | null;
  readonly version: string | null;
};

/** What is known of a server besides its place. */
export type Placeable = {
  readonly id: string;
  readonly name: string;
  readonly relation: string;
  readonly state: ServerState;
  readonly via: string | null;
  readonly seenAt: string | null;
  readonly reportedAt: string | null;
  readonly status: ServerReport | null;
  readonly contentOnly: boolean;
};

/** Gives each server its place. Those that only the shared database knows count for the roles as well. */
export async function findPlaces(site: Site, servers: readonly Placeable[]): Promise<Map<string, Place>> {
  const registry = site.shared === undefined ? undefined : await lastRegistry(site.shared);
  const above = await linksUpwards(site, servers, registry);
  const parents = new Set(above.values());
  const ancestors = (await listAncestors(site.db)).map(({ serverId, name }) => ({ id: serverId, name }));
  const names = new Map<string, string>(
    [...ancestors, ...(registry?.servers.values() ?? []), ...servers].map(({ id, name }) => [id, name]),
  );
  const nameOf = (id: string | null | undefined) => (id ? (names.get(id) ?? id) : null);
  const place = (server: Placeable): Place => {
    const row = registry?.servers.get(server.id);
    return {
      role: roleOf({ hasParent: above.has(server.id), hasChildren: parents.has(server.id) }),
      state: row?.state === 'fenced' && server.state === 'active' ? 'fenced' : server.state,
      parent: nameOf(above.get(server.id)),
      wishedParent: nameOf(row?.parentId),
      parentFile: row?.parentBy === 'file' ? (row.parentFile ?? 'a file') : null,
      ...heartbeatOf(server.id, { isSelf: server.id === site.self.id, heardAt: heardAt(server), now: site.now() }, registry),
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
  for (const row of registry?.servers.values() ?? []) if (row.state === 'active' && row.parentId !== null) above.set(row.id, row.parentId);
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

/** By links, epoch ms. */
function heardAt({ seenAt, reportedAt }: Placeable): number | null {
  const times = [seenAt, reportedAt].filter((time) => time !== null).map((time) => Date.parse(time));
  return times.length === 0 ? null : Math.max(...times);
}
