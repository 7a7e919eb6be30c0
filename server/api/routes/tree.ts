import { z } from 'zod';
import { authorise } from '../../../core/authorise.ts';
import { ServerTree } from '../../../core/server-tree.ts';
import { startRunAt } from '../../panel/replicate.ts';
import { readServerTree } from '../../panel/tree.ts';
import { actorOf } from '../actor.ts';
import { type Route, route } from '../route.ts';

/** The console's list of servers, and what is asked of one of them. */
export const TREE_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/tree',
    listener: 'api',
    action: 'server.read',
    summary:
      'This server, its parent and all below it: place, role, health in words, last run, images counted, and what may be asked for each',
    output: ServerTree,
    handle: ({ site, identity }) =>
      readServerTree(site, {
        mayReplicate: authorise(identity, 'link.write'),
        mayWriteServers: authorise(identity, 'server.write'),
        mayMakeArchives: authorise(identity, 'store.write'),
        mayLoad: authorise(identity, 'image.write'),
      }),
  }),
  route({
    method: 'POST',
    path: '/api/v1/servers/:server/runs',
    listener: 'api',
    action: 'link.write',
    summary: 'Start a replication run at this server or at one below; it answers while the caller waits, for 30 s at most',
    input: z.strictObject({}),
    output: z.object({ id: z.string(), state: z.string(), server: z.string() }),
    handle: ({ site, identity, params }) => startRunAt(site, params['server'] ?? '', actorOf(identity)),
  }),
];
