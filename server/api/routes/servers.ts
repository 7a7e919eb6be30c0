import { z } from 'zod';
import { type KnownServer, listServers } from '../../db/servers.ts';
import { raiseEpoch } from '../../epoch.ts';
import { giveRing } from '../../holdings/rings.ts';
import { findServer, revokeServer } from '../../servers.ts';
import { joinParent } from '../../trust/join.ts';
import { actorOf } from '../actor.ts';
import { type Route, route } from '../route.ts';

const Server = z.object({
  id: z.string(),
  name: z.string(),
  relation: z.enum(['self', 'parent', 'child']),
  state: z.enum(['active', 'revoked']),
  url: z.string().nullable(),
  fingerprint: z.string().nullable(),
  createdAt: z.iso.datetime(),
  seenAt: z.iso.datetime().nullable(),
  /** Of a child: its own ring. */
  ring: z.number().int().nullable(),
});

/** A server as the interface shows it; `fingerprint` is the SHA-256 of its CA's SPKI. */
export function viewServer(server: KnownServer): z.infer<typeof Server> {
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
    ring: server.ring ?? null,
  };
}

const Numbers = z.object({ epoch: z.number().int(), generation: z.number().int() });

export const SERVER_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/servers',
    listener: 'api',
    action: 'server.read',
    summary: 'The servers known here: this one, its parents, its children',
    output: z.object({ items: z.array(Server), next: z.null() }),
    handle: async ({ site }) => ({ items: (await listServers(site.db)).map(viewServer), next: null }),
  }),
  route({
    method: 'GET',
    path: '/api/v1/servers/:server',
    listener: 'api',
    action: 'server.read',
    summary: 'One server, by name or id',
    output: Server,
    handle: async ({ site, params }) => viewServer(await findServer(site, params['server'] ?? '')),
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
    output: Server,
    handle: async ({ site, identity }, { url, token }) =>
      viewServer((await joinParent(site, { url, token, actor: actorOf(identity) })).parent),
  }),
  route({
    method: 'PUT',
    path: '/api/v1/servers/:server/ring',
    listener: 'api',
    action: 'server.write',
    summary: 'Give a child its ring (0: the pilots), or none of its own (null)',
    input: z.strictObject({ ring: z.number().int().min(0).max(1000).nullable() }),
    output: Server,
    handle: async ({ site, identity, params }, { ring }) =>
      viewServer(await giveRing(site, params['server'] ?? '', { ring, actor: actorOf(identity) })),
  }),
  route({
    method: 'POST',
    path: '/api/v1/servers/:server/revoke',
    listener: 'api',
    action: 'server.write',
    summary: "Take a child's rights away, at once",
    output: Server,
    handle: async ({ site, identity, params }) => viewServer(await revokeServer(site, params['server'] ?? '', actorOf(identity))),
  }),
];
