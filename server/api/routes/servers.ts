import { z } from 'zod';
import { ServerReport } from '../../../core/control-protocol.ts';
import { AppError } from '../../../core/errors.ts';
import type { Id } from '../../../core/ids.ts';
import { SERVER_ROLES } from '../../../core/server-role.ts';
import { SERVER_STATES } from '../../../core/server-state.ts';
import { setPolicy } from '../../control/place.ts';
import { findPlaces } from '../../control/places.ts';
import {
  findServerBelow,
  listLinked,
  listPeersBeside,
  listServersBehind,
  type ServerBelow,
  type ServerStatus,
  serverName,
  statusOf,
} from '../../control/servers-below.ts';
import { describeSelf } from '../../control/status.ts';
import { countCommands } from '../../db/control-queue.ts';
import { getOrigin } from '../../db/origins.ts';
import type { Peer } from '../../db/peers.ts';
import { findServerByName, getServer, type KnownServer } from '../../db/servers.ts';
import { listSuccessions, type Succession } from '../../db/successions.ts';
import { raiseEpoch } from '../../epoch.ts';
import { giveRing } from '../../holdings/rings.ts';
import { revokeServer } from '../../servers.ts';
import { setParent } from '../../shared/parents.ts';
import { SharedView, viewShared } from '../../shared/view.ts';
import type { Site } from '../../site.ts';
import { readFence } from '../../succession/fence.ts';
import { joinParent } from '../../trust/join.ts';
import { actorOf } from '../actor.ts';
import { type Route, route } from '../route.ts';

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
const PlacedServer = Server.extend({
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
  const isoTime = (at: number) => new Date(at).toISOString();
  return {
    id,
    name,
    relation,
    state,
    url,
    fingerprint: caPin,
    createdAt: isoTime(createdAt),
    seenAt: seenAt === null ? null : isoTime(seenAt),
    contentOnly: server.isContentOnly ?? false,
    ring: server.ring ?? null,
    ...{ via: null, status: null, reportedAt: null, waiting: 0 },
  };
}

const Numbers = z.object({ epoch: z.number().int(), generation: z.number().int() });

/** A server with what it told of itself, when it is below this one. */
async function viewWithStatus(site: Site, server: KnownServer): Promise<KnownView> {
  if (server.relation === 'self') {
    const state = (await readFence(site.db))?.phase === 'fenced' ? 'fenced' : server.state;
    return { ...viewServer(server), state, status: await describeSelf(site) };
  }
  const waiting = server.relation === 'child' ? await countCommands(site.db, server.id) : 0;
  return { ...viewServer(server), ...viewStatus(await statusOf(site.db, server.id)), waiting };
}

function viewStatus(status: ServerStatus | undefined): Pick<KnownView, 'status' | 'reportedAt'> {
  if (status === undefined) return { status: null, reportedAt: null };
  return { status: status.report, reportedAt: new Date(status.at).toISOString() };
}

/** A server that enrolled at one of our children, or further down. */
async function viewBehind(site: Site, { id, name, via }: ServerBelow): Promise<KnownView> {
  const status = await statusOf(site.db, id);
  const time = new Date((await getOrigin(site.db, id))?.seenAt ?? site.now()).toISOString();
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
  return { ...known, ...viewStatus(status), via: await serverName(site.db, via), waiting: 0 };
}

/** A server that meets us in the shared database. */
async function viewPeer(site: Site, { id, name, state, url, caPin, firstAt }: Peer): Promise<KnownView> {
  const at = (await getOrigin(site.db, id))?.seenAt;
  const known = {
    ...({ id, name, relation: 'peer', state, url, fingerprint: caPin, createdAt: new Date(firstAt).toISOString() } as const),
    ...{ seenAt: at === undefined ? null : new Date(at).toISOString(), contentOnly: false, ring: null, via: null },
  };
  return { ...known, ...viewStatus(await statusOf(site.db, id)), waiting: await countCommands(site.db, id) };
}

async function viewKnown(site: Site): Promise<KnownView[]> {
  const known = (await listLinked(site.db)).map((server) => viewWithStatus(site, server));
  const behind = (await listServersBehind(site.db)).map((server) => viewBehind(site, server));
  const peers = (await listPeersBeside(site.db)).map((peer) => viewPeer(site, peer));
  return Promise.all([...known, ...behind, ...peers]);
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
  return { successor: found?.successorName ?? null, succeededAt: found === undefined ? null : new Date(found.at).toISOString() };
}

/** One of them, by name or id. Errors: `not_found`, `ambiguous`. */
export async function showServer(site: Site, reference: string): Promise<ServerView> {
  const known = (await findServerByName(site.db, reference)) ?? (await getServer(site.db, reference as Id));
  if (known !== undefined) return placed(site, known.id);
  const peer = (await listPeersBeside(site.db)).find(({ id, name }) => id === reference || name === reference);
  return placed(site, peer?.id ?? (await findServerBelow(site.db, reference)).id);
}

/** A server that is known here, after something was done to it. */
async function placed(site: Site, id: string): Promise<ServerView> {
  const found = (await viewServers(site)).find((server) => server.id === id);
  if (found !== undefined) return found;
  throw new AppError('not_found', `no server ${id} is known here`, { hint: 'waystation server list' });
}

export const SERVER_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/servers',
    listener: 'api',
    action: 'server.read',
    summary: 'The servers known here: this one, its parents, its children, those behind them',
    output: z.object({ items: z.array(PlacedServer), next: z.null() }),
    handle: async ({ site }) => ({ items: await viewServers(site), next: null }),
  }),
  route({
    method: 'GET',
    path: '/api/v1/servers/:server',
    listener: 'api',
    action: 'server.read',
    summary: 'One server, by name or id',
    output: PlacedServer,
    handle: async ({ site, params }) => showServer(site, params['server'] ?? ''),
  }),
  route({
    method: 'GET',
    path: '/api/v1/shared',
    listener: 'api',
    action: 'server.read',
    summary: 'How it stands with the database where servers meet: since when it is reached or away, and why',
    output: SharedView,
    handle: async ({ site }) => viewShared(site),
  }),
  route({
    method: 'POST',
    path: '/api/v1/catalogue/epoch',
    listener: 'api',
    action: 'server.write',
    summary: 'Begin a new epoch of the catalogue, after this server was restored from a backup',
    output: Numbers,
    handle: ({ site, identity }) => raiseEpoch(site, actorOf(identity)),
  }),
  route({
    method: 'POST',
    path: '/api/v1/servers/join',
    listener: 'api',
    action: 'server.write',
    summary: 'Become the child of another server, with a token from there',
    input: z.object({ url: z.string().max(512), token: z.string().max(512) }),
    output: PlacedServer,
    handle: async ({ site, identity }, { url, token }) =>
      placed(site, (await joinParent(site, { url, token, actor: actorOf(identity) })).parent.id),
  }),
  route({
    method: 'PUT',
    path: '/api/v1/servers/:server/parent',
    listener: 'api',
    action: 'server.write',
    summary: 'Wish a parent, or none (null), for a server that meets others in the shared database',
    input: z.strictObject({ parent: z.string().max(63).nullable() }),
    output: z.object({ server: z.string(), parent: z.string().nullable(), revision: z.number().int(), changed: z.boolean() }),
    handle: ({ site, identity, params }, { parent }) =>
      setParent(site, { server: params['server'] ?? '', parent, actor: actorOf(identity) }),
  }),
  route({
    method: 'PUT',
    path: '/api/v1/servers/:server/ring',
    listener: 'api',
    action: 'server.write',
    summary: 'Give a child its ring (0: the pilots), or none of its own (null)',
    input: z.strictObject({ ring: z.number().int().min(0).max(1000).nullable() }),
    output: PlacedServer,
    handle: async ({ site, identity, params }, { ring }) =>
      placed(site, (await giveRing(site, params['server'] ?? '', { ring, actor: actorOf(identity) })).id),
  }),
  route({
    method: 'POST',
    path: '/api/v1/servers/:server/revoke',
    listener: 'api',
    action: 'server.write',
    summary: "Take a child's rights away, at once",
    output: PlacedServer,
    handle: async ({ site, identity, params }) => placed(site, (await revokeServer(site, params['server'] ?? '', actorOf(identity))).id),
  }),
  route({
    method: 'PUT',
    path: '/api/v1/servers/:server/settings',
    listener: 'api',
    action: 'server.write',
    summary: 'Set a policy of this server or of one below; null gives it back to that server',
    input: z.strictObject({ key: z.string().max(64), value: z.string().max(64).nullable() }),
    handle: async ({ site, identity, params }, setting) => setPolicy(site, params['server'] ?? '', setting, actorOf(identity)),
  }),
];
