import { z } from 'zod';
import { setPolicy } from '../../control/place.ts';
import { raiseEpoch } from '../../epoch.ts';
import { giveRing } from '../../holdings/rings.ts';
import { listServerViews, PlacedServer, placed, showServer } from '../../panel/server-views.ts';
import { revokeServer } from '../../servers.ts';
import { setParent } from '../../shared/parents.ts';
import { SharedView, viewShared } from '../../shared/view.ts';
import { joinParent } from '../../trust/join.ts';
import { actorOf } from '../actor.ts';
import { type Route, route } from '../route.ts';

const ListInput = z.object({
  after: z.string().max(36).optional(),
  limit: z.coerce.number().int().min(1).max(1000).optional(),
});

const Numbers = z.object({ epoch: z.number().int(), generation: z.number().int() });

export const SERVER_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/servers',
    listener: 'api',
    action: 'server.read',
    summary: 'The servers known here: this one, then its parents, its children, those behind them, by id',
    input: ListInput,
    output: z.object({ items: z.array(PlacedServer), next: z.string().nullable() }),
    handle: ({ site }, input) => listServerViews(site, input),
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
