import { z } from 'zod';
import { listSources } from '../../db/sources.ts';
import { addSource, dropSource, viewSource } from '../../sources.ts';
import { actorOf } from '../actor.ts';
import { type Route, route } from '../route.ts';

/** Further servers that content may come from. */
export const SOURCE_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/sources',
    listener: 'api',
    action: 'server.read',
    summary: 'Servers that content may come from besides the parent, in the order in which they are asked',
    handle: async ({ site }) => ({ items: (await listSources(site.db)).map(viewSource), next: null }),
  }),
  route({
    method: 'POST',
    path: '/api/v1/sources',
    listener: 'api',
    action: 'server.write',
    summary: 'Take content from a further server, with an enrolment token from there',
    input: z.strictObject({ url: z.string().max(512), token: z.string().max(512) }),
    handle: async ({ site, identity }, { url, token }) => viewSource(await addSource(site, { url, token, actor: actorOf(identity) })),
  }),
  route({
    method: 'DELETE',
    path: '/api/v1/sources/:source',
    listener: 'api',
    action: 'server.write',
    summary: 'Take no content from that server any more',
    handle: async ({ site, identity, params }) => viewSource(await dropSource(site, params['source'] ?? '', actorOf(identity))),
  }),
];
