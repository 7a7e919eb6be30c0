import { z } from 'zod';
import { applyTree, compareTree } from '../../shared/tree.ts';
import { actorOf } from '../actor.ts';
import { type Route, route } from '../route.ts';

const Input = z.strictObject({ file: z.string().min(1).max(255), text: z.string().max(500_000) });
const Output = z.object({
  file: z.string(),
  differences: z.array(z.object({ server: z.string(), field: z.string(), is: z.string().nullable(), wanted: z.string().nullable() })),
  applied: z.boolean(),
});

/** A file that says how all servers of the shared database stand to one another. */
export const SITE_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: '/api/v1/site/diff',
    listener: 'api',
    action: 'server.read',
    summary: 'What differs from a tree of servers; nothing is changed',
    input: Input,
    output: Output,
    handle: ({ site }, input) => compareTree(site, input),
  }),
  route({
    method: 'POST',
    path: '/api/v1/site/apply',
    listener: 'api',
    action: 'server.write',
    summary: 'Make the servers what a tree of servers says; refused as a whole or done as a whole',
    input: Input,
    output: Output,
    handle: ({ site, identity }, input) => applyTree(site, input, actorOf(identity)),
  }),
];
