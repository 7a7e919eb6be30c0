import { z } from 'zod';
import { promoteServer } from '../../succession/promote.ts';
import { actorOf } from '../actor.ts';
import { type Route, route } from '../route.ts';

const Moved = z.object({ server: z.string(), from: z.string().nullable(), to: z.string().nullable(), managedBy: z.string().nullable() });

export const PROMOTION_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: '/api/v1/servers/:server/promote',
    listener: 'api',
    action: 'server.write',
    summary: 'Make a server the master in the place of the one at the top above it, which is lost',
    input: z.strictObject({
      insteadOf: z.string().max(63).optional(),
      evenIfAlive: z.boolean().default(false),
      dryRun: z.boolean().default(false),
    }),
    output: z.object({
      server: z.string(),
      insteadOf: z.string(),
      by: z.enum(['database', 'link']),
      changed: z.boolean(),
      dryRun: z.boolean(),
      heardSecondsAgo: z.number().int().nullable(),
      moved: z.array(Moved),
      adopted: z.number().int().nullable(),
    }),
    handle: ({ site, identity, params }, { insteadOf, evenIfAlive, dryRun }) =>
      promoteServer(site, { server: params['server'] ?? '', insteadOf, evenIfAlive, isDryRun: dryRun, actor: actorOf(identity) }),
  }),
];
