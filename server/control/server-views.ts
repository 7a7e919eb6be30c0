import { z } from 'zod';
import { ServerReport } from '../../core/control-protocol.ts';
import { AppError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import { isoTime } from '../../core/iso-time.ts';
import { SERVER_ROLES } from '../../core/server-role.ts';
import { SERVER_STATES } from '../../core/server-state.ts';
import { countAllCommands } from '../db/control-queue.ts';
import { listOrigins } from '../db/origins.ts';
import type { Peer } from '../db/peers.ts';
import { findServerByName, getServer, type KnownServer } from '../db/servers.ts';
import { listSuccessions, type Succession } from '../db/successions.ts';
import { SharedView, viewShared } from '../shared/view.ts';
import type { Site } from '../site.ts';
import { readFence } from '../succession/fence.ts';
import { findPlaces } from './places.ts';
import { findServerBelow, listKnown, type ServerBelow, type ServerStatus, serverNames, statusesOf } from './servers-below.ts';
import { describeSelf } from './status.ts';

const Server = z.object({
  id: z.string(),
  name: z.string(),
  /** `peer`: it meets this one in the shared database, and no link of ours leads to it. */
  relation: z.enum(['self', 'parent', 'child', 'behind', 'peer']),
  state: z.enum(SERVER_STATES),
  url: z.string().nullable(),
  fingerprint: z.string().nullable(),
  createdAt: z.iso.datetime(),
  seenAt: z.iso.datetime().nullable(),
  /** Takes content from here and is no child ("server source add" there). */
  contentOnly: z.boolean(),
  /** Of a child: its own ring. */
  ring: z.number().int().nullable(),
  /** For a server behind a child of ours: the name of that child. */
  via: z.string().nullable(),
  /** What a server below said of itself last, and when that came. */
  status: ServerReport.nullable(),
  reportedAt: z.iso.datetime().nullable(),
  /** Commands that it has not fetched yet, also those for servers behind it. */
  waiting: z.number().int(),
});
type KnownView = z.infer<typeof Server>;

/** A server and where it stands: the same keys whether servers meet in a database or by links alone. */
export const PlacedServer = Server.extend({
  role: z.enum(SERVER_ROLES),
  parent: z.string().nullable(),
  wishedParent: z.string().nullable(),
  /** The file that says who its parent is ("site apply"), in words; null: operators set it. */
  parentFile: z.string().nullable(),
  heartbeatAt: z.iso.datetime().nullable(),
  heartbeatAgeSeconds: z.number().int().nullable(),
  /** Not heard for a minute by the shared database, or for eleven by reports. */
  silent: z.boolean(),
  version: z.string().nullable(),
  /** Of a fenced server: who took its place, and when. */
  successor: z.string().nullable(),
  succeededAt: z.iso.datetime().nullable(),
  /** Of this server itself: how it stands with the shared database. */
  shared: SharedView.nullable(),
});
export type ServerView = z.infer<typeof PlacedServer>;

/** A server as the interface shows it; `fingerprint` is the SHA-256 of its CA's SPKI. */
export function viewServer(server: KnownServer): KnownView {
  const { id, name, relation, state, url, caPin, createdAt, seenAt } = server;
  return {
    id,
    name,
    relation,
    state,
    url,
    fingerprint: caPin,
    createdAt: isoTime(createdAt),
    seenAt: isoTime(seenAt),
    contentOnly: server.isContentOnly ?? false,
    ring: server.ring ?? null,
    ...{ via: null, status: null, reportedAt: null, waiting: 0 },
  };
}

/** What is read once for all servers together. */
type Facts = {
  readonly self: ServerReport;
  readonly isFenced: boolean;
  readonly statuses: ReadonlyMap<Id, ServerStatus>;
  readonly heard: ReadonlyMap<Id, number>;
  readonly waiting: ReadonlyMap<Id, number>;
  readonly names: ReadonlyMap<Id, string>;
};

/** A server with what it told of itself, when it is below this one. */
function viewWithStatus(server: KnownServer, { self, isFenced, statuses, waiting }: Facts): KnownView {
  if (server.relation === 'self') return { ...viewServer(server), state: isFenced ? 'fenced' : server.state, status: self };
  const commands = server.relation === 'child' ? (waiting.get(server.id) ?? 0) : 0;
  return { ...viewServer(server), ...viewStatus(statuses.get(server.id)), waiting: commands };
}

function viewStatus(status: ServerStatus | undefined): Pick<KnownView, 'status' | 'reportedAt'> {
  if (status === undefined) return { status: null, reportedAt: null };
  return { status: status.report, reportedAt: isoTime(status.at) };
}

/** A server that enrolled at one of our children, or further down. */
function viewBehind({ id, name, via }: ServerBelow, { statuses, heard, names }: Facts, now: number): KnownView {
  const time = isoTime(heard.get(id) ?? now);
  const known = {
    id,
    name,
    relation: 'behind',
    state: 'active',
    url: null,
    fingerprint: null,
    createdAt: time,
    seenAt: time,
    contentOnly: false,
    ring: null,
  } as const;
  return { ...known, ...viewStatus(statuses.get(id)), via: names.get(via) ?? via, waiting: 0 };
}

/** A server that meets us in the shared database. */
function viewPeer({ id, name, state, url, caPin, firstAt }: Peer, { statuses, heard, waiting }: Facts): KnownView {
  const known = {
    ...({ id, name, relation: 'peer', state, url, fingerprint: caPin, createdAt: isoTime(firstAt) } as const),
    ...{ seenAt: isoTime(heard.get(id)), contentOnly: false, ring: null, via: null },
  };
  return { ...known, ...viewStatus(statuses.get(id)), waiting: waiting.get(id) ?? 0 };
}

/** Of 500 servers as of one: what is said of them is read together. */
async function viewKnown(site: Site): Promise<KnownView[]> {
  const { linked, behind, beside } = await listKnown(site.db);
  const facts: Facts = {
    self: await describeSelf(site),
    isFenced: (await readFence(site.db))?.phase === 'fenced',
    statuses: await statusesOf(
      site.db,
      [...linked, ...behind, ...beside].map(({ id }) => id),
    ),
    heard: new Map((await listOrigins(site.db)).map(({ id, seenAt }) => [id, seenAt])),
    waiting: await countAllCommands(site.db),
    names: await serverNames(
      site.db,
      behind.map(({ via }) => via),
    ),
  };
  return [
    ...linked.map((server) => viewWithStatus(server, facts)),
    ...behind.map((server) => viewBehind(server, facts, site.now())),
    ...beside.map((peer) => viewPeer(peer, facts)),
  ];
}

/** The servers known here: this one, its parents, its children, those behind them, and those that meet it in the shared database. */
export async function viewServers(site: Site): Promise<ServerView[]> {
  const known = await viewKnown(site);
  const places = await findPlaces(site, known);
  const successions = await listSuccessions(site.db);
  return known.flatMap((server) => {
    const place = places.get(server.id);
    const shared = server.relation === 'self' ? viewShared(site) : null;
    return place === undefined ? [] : [{ ...server, ...place, ...successorOf(server, successions), shared }];
  });
}

function successorOf({ id, state }: KnownView, successions: readonly Succession[]): Pick<ServerView, 'successor' | 'succeededAt'> {
  const found = state === 'fenced' ? successions.find(({ predecessor }) => predecessor === id) : undefined;
  return { successor: found?.successorName ?? null, succeededAt: isoTime(found?.at) };
}

/** One of them, by name or id. Errors: `not_found`, `ambiguous`. */
export async function showServer(site: Site, reference: string): Promise<ServerView> {
  const known = (await findServerByName(site.db, reference)) ?? (await getServer(site.db, reference as Id));
  if (known !== undefined) return placed(site, known.id);
  const peer = (await listKnown(site.db)).beside.find(({ id, name }) => id === reference || name === reference);
  return placed(site, peer?.id ?? (await findServerBelow(site.db, reference)).id);
}

/** A server that is known here, after something was done to it. */
export async function placed(site: Site, id: string): Promise<ServerView> {
  const found = (await viewServers(site)).find((server) => server.id === id);
  if (found !== undefined) return found;
  throw new AppError('not_found', `no server ${id} is known here`, { hint: 'waystation server list' });
}
