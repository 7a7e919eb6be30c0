import { authorise } from '../../../core/authorise.ts';
import { ServerTree } from '../../../core/server-tree.ts';
import { readServerTree } from '../../panel/tree.ts';
import { type Route, route } from '../route.ts';

/** The console's list of servers. */
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
];
