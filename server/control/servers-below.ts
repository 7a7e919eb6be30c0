import type { Knex } from 'knex';
import { ServerReport } from '../../core/control-protocol.ts';
import { AppError } from '../../core/errors.ts';
import { type Id, printable } from '../../core/ids.ts';
import { listOrigins, routeTo } from '../db/origins.ts';
import { findPeer, getPeer, listPeers, listPeersOf, type Peer } from '../db/peers.ts';
import { findReportedServers, getReported, readServerReports } from '../db/reported.ts';
import { findServerByName, getServer, type ListedServer, listServersForPeople, listServersOf } from '../db/servers.ts';
import { getTrustedServer } from '../db/trusted-servers.ts';

/** A server below us: our child, or one behind a child; or one that meets us in a shared database, wherever it stands. */
export type ServerBelow = {
  readonly id: Id;
  readonly name: string;
  /** The child of ours by which it is reached: itself when it is our child, or reached by the database. */
  readonly via: Id;
};

/** What a server below us said of itself last, and when that came (epoch ms). */
export type ServerStatus = { readonly report: ServerReport; readonly at: number };

export async function statusOf(db: Knex, id: Id): Promise<ServerStatus | undefined> {
  const row = await getReported(db, { origin: id, kind: 'server', subject: id });
  const report = ServerReport.safeParse(row?.body).data;
  return row === undefined || report === undefined ? undefined : { report, at: row.at };
}

/** How people call a server: by what enrolled here or stands above, else by what it says of itself, else by its id. */
export async function serverName(db: Knex, id: Id): Promise<string> {
  const known = (await getServer(db, id)) ?? (await getPeer(db, id)) ?? (await getTrustedServer(db, id));
  return known?.name ?? (await statusOf(db, id))?.report.name ?? id;
}

/** How each of these is called, as `serverName` says, with a few statements for all of them. */
export async function serverNames(db: Knex, ids: readonly Id[]): Promise<ReadonlyMap<Id, string>> {
  const wanted = [...new Set(ids)];
  const names = new Map<Id, string>(wanted.map((id) => [id, id]));
  if (wanted.length === 0) return names;
  for (const { id, name } of [...(await listPeersOf(db, wanted)), ...(await listServersOf(db, wanted))]) names.set(id, name);
  const unnamed = wanted.filter((id) => names.get(id) === id);
  for (const [id, { report }] of await statusesOf(db, unnamed)) names.set(id, report.name);
  return names;
}

/** What each of these said of itself last, where it can be read. */
export async function statusesOf(db: Knex, ids: readonly Id[]): Promise<Map<Id, ServerStatus>> {
  const found = new Map<Id, ServerStatus>();
  for await (const { origin, body, at } of readServerReports(db, ids)) {
    const report = ServerReport.safeParse(body).data;
    if (report !== undefined) found.set(origin, { report, at });
  }
  return found;
}

/** Every server that is known here, once. */
export type KnownServers = {
  /** This server and those of its links. */
  readonly linked: readonly ListedServer[];
  /** Servers that reported and are no children of ours. */
  readonly behind: readonly ServerBelow[];
  /** Servers that meet us in the shared database, and that no link of ours leads to. */
  readonly beside: readonly Peer[];
};

export async function listKnown(db: Knex): Promise<KnownServers> {
  const peers = await listPeers(db);
  const linked = linkedOf(await listServersForPeople(db), peers);
  const here = new Set(linked.map(({ id }) => id));
  const met = new Set(peers.map(({ id }) => id));
  const origins = (await listOrigins(db)).filter(({ id, via }) => !here.has(id) && !(via === id && met.has(id)));
  const passed = new Set(origins.map(({ id }) => id));
  const names = await serverNames(db, [...passed]);
  return {
    linked,
    behind: origins.map(({ id, via }) => ({ id, via, name: names.get(id) ?? id })),
    beside: peers.filter(({ id }) => !here.has(id) && !passed.has(id)),
  };
}

/**
 * This server and those of its links. A child that was let go because it has another parent now, or none, is not among them: it is
 * a peer like any other. Who was revoked by an operator stays that.
 */
export function linkedOf(servers: readonly ListedServer[], peers: readonly Peer[]): ListedServer[] {
  const self = servers.find(({ relation }) => relation === 'self')?.id;
  const met = new Map(peers.map((peer) => [peer.id, peer]));
  const hasMoved = ({ id, relation, state }: ListedServer) => {
    const peer = met.get(id);
    return relation === 'child' && state === 'revoked' && peer?.state === 'active' && peer.parentRevision > 0 && peer.parentId !== self;
  };
  return servers.filter((server) => !hasMoved(server));
}

/** The server below us of that name or id. Errors: `not_found`, `ambiguous`. */
export async function findServerBelow(db: Knex, reference: string): Promise<ServerBelow> {
  const enrolled = (await findServerByName(db, reference)) ?? (await getServer(db, reference as Id));
  // Who takes only content from us asks us for nothing else: it is reached, if at all, through its own parent.
  const known = enrolled?.isContentOnly ? undefined : enrolled;
  if (known?.relation === 'child' && known.state === 'active') return { id: known.id, name: known.name, via: known.id };
  const peer = known?.relation === 'self' ? undefined : await findPeer(db, reference);
  if (peer !== undefined) return { id: peer.id, name: peer.name, via: (await routeTo(db, peer.id)) ?? peer.id };
  if (known !== undefined) {
    throw new AppError('wrong_state', `server ${known.name} is ${known.relation === 'child' ? 'revoked' : 'not below this one'}`, {
      hint: 'waystation server list',
    });
  }
  const [found, second] = await findReportedServers(db, reference);
  const via = found && (await routeTo(db, found));
  if (found === undefined || !via)
    throw new AppError('not_found', `no server "${printable(reference)}" is known here`, { hint: 'waystation server list' });
  if (second !== undefined) {
    throw new AppError('ambiguous', `several servers are called "${printable(reference)}"`, {
      hint: `use the id: ${found} or ${second}`,
    });
  }
  return { id: found, via, name: await serverName(db, found) };
}
