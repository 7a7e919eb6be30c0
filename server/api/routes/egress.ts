import { z } from 'zod';
import { type Egress, pauseChildren, resumeChildren, setEgress, setPriority, showEgress } from '../../egress.ts';
import { actorOf } from '../actor.ts';
import { type Route, route } from '../route.ts';

const EgressOutput = z.object({
  /** Mbit/s (10^6 bits); null: no limit. */
  mbit: z.number().nullable(),
  children: z.array(
    z.object({
      id: z.string(),
      name: z.string(),
      priority: z.number().int(),
      paused: z.object({ by: z.string(), since: z.iso.datetime() }).nullable(),
    }),
  ),
});

export type EgressView = z.infer<typeof EgressOutput>;

const Empty = z.strictObject({});

/** What this server gives its children: how much in all, in which shares, and to whom nothing. */
export const EGRESS_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/egress',
    listener: 'api',
    action: 'server.read',
    summary: 'The limit of what all children together are sent, their priorities and pauses',
    output: EgressOutput,
    handle: async ({ site }) => viewEgress(await showEgress(site)),
  }),
  route({
    method: 'PUT',
    path: '/api/v1/egress',
    listener: 'api',
    action: 'server.write',
    summary: 'Limits what all children together are sent, in Mbit/s (10^6 bits); null for no limit',
    input: z.strictObject({ mbit: z.number().positive().max(1_000_000).nullable() }),
    output: EgressOutput,
    handle: async ({ site, identity }, { mbit }) =>
      viewEgress(await setEgress(site, mbit === null ? null : Math.round(mbit * 1_000_000), actorOf(identity))),
  }),
  route({
    method: 'POST',
    path: '/api/v1/egress/pause',
    listener: 'api',
    action: 'server.write',
    summary: 'Gives no child any content until it is resumed; what runs stops, keeping what came',
    input: Empty,
    output: EgressOutput,
    handle: async ({ site, identity }) => viewEgress(await pauseChildren(site, 'all', actorOf(identity))),
  }),
  route({
    method: 'POST',
    path: '/api/v1/egress/resume',
    listener: 'api',
    action: 'server.write',
    summary: 'Lets all children go on',
    input: Empty,
    output: EgressOutput,
    handle: async ({ site, identity }) => viewEgress(await resumeChildren(site, 'all', actorOf(identity))),
  }),
  route({
    method: 'POST',
    path: '/api/v1/servers/:server/pause',
    listener: 'api',
    action: 'server.write',
    summary: 'Gives one child no content until it is resumed',
    input: Empty,
    output: EgressOutput,
    handle: async ({ site, identity, params }) =>
      viewEgress(await pauseChildren(site, { reference: params['server'] ?? '' }, actorOf(identity))),
  }),
  route({
    method: 'POST',
    path: '/api/v1/servers/:server/resume',
    listener: 'api',
    action: 'server.write',
    summary: 'Lets one child go on',
    input: Empty,
    output: EgressOutput,
    handle: async ({ site, identity, params }) =>
      viewEgress(await resumeChildren(site, { reference: params['server'] ?? '' }, actorOf(identity))),
  }),
  route({
    method: 'PUT',
    path: '/api/v1/servers/:server/priority',
    listener: 'api',
    action: 'server.write',
    summary: "A child's share against the others', 1 to 100; 10 is that of a new child",
    input: z.strictObject({ priority: z.number() }),
    output: EgressOutput,
    handle: async ({ site, identity, params }, { priority }) =>
      viewEgress(await setPriority(site, params['server'] ?? '', { priority, actor: actorOf(identity) })),
  }),
];

function viewEgress({ bps, children }: Egress): EgressView {
  return {
    mbit: bps === null ? null : bps / 1_000_000,
    children: children.map(({ id, name, priority, paused }) => ({
      id,
      name,
      priority,
      paused: paused === null ? null : { by: paused.by, since: new Date(paused.at).toISOString() },
    })),
  };
}
