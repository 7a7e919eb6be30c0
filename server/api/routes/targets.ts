import { z } from 'zod';
import { type Mac, NAME_RULE, type Name, parseMac } from '../../../core/ids.ts';
import { forgetTarget, placeTarget, regroupTarget } from '../../control/place.ts';
import { listAllTargets, showTarget } from '../../control/things-below.ts';
import { actorOf } from '../actor.ts';
import { type Route, route } from '../route.ts';

const ListInput = z.object({
  after: z.string().max(36).optional(),
  limit: z.coerce.number().int().min(1).max(1000).optional(),
});

const AddInput = z
  .strictObject({
    name: z.string().regex(NAME_RULE.pattern, NAME_RULE.words).optional(),
    uuid: z.guid('is not a UUID').optional(),
    serial: z.string().min(1).max(80).optional(),
    macs: z
      .array(z.string().regex(/^[0-9a-f]{2}([:-]?[0-9a-f]{2}){5}$/i, 'is not a MAC address'))
      .max(64)
      .default([]),
    arch: z.enum(['amd64', 'arm64']).optional(),
    firmware: z.enum(['bios', 'uefi']).optional(),
    /** Name or id of the server below that it lives at; without it: this one. */
    server: z.string().min(1).max(64).optional(),
  })
  .refine(
    (input) => input.uuid !== undefined || input.serial !== undefined || input.macs.length > 0,
    'a target needs a MAC address, UUID or serial number',
  );

export const TARGET_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/targets',
    listener: 'api',
    action: 'target.read',
    summary: 'Targets here and at the servers below, in the order they became known',
    input: ListInput,
    handle: async ({ site }, input) => listAllTargets(site, input),
  }),
  route({
    method: 'POST',
    path: '/api/v1/targets',
    listener: 'api',
    action: 'target.write',
    summary: 'Write a target down, or name one that was discovered',
    input: AddInput,
    handle: async ({ site, identity }, { name, macs, server, ...facts }) => {
      const parsed: readonly Mac[] = macs.map(parseMac);
      const added = { ...facts, name: (name ?? null) as Name | null, macs: parsed };
      return placeTarget(site, added, { server, actor: actorOf(identity) });
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/targets/:reference',
    listener: 'api',
    action: 'target.read',
    summary: 'One target, by id, name, UUID or MAC address',
    handle: async ({ site, params }) => showTarget(site, params['reference'] ?? ''),
  }),
  route({
    method: 'DELETE',
    path: '/api/v1/targets/:reference',
    listener: 'api',
    action: 'target.write',
    summary: 'Forget a target',
    handle: async ({ site, params, identity }) => forgetTarget(site, params['reference'] ?? '', actorOf(identity)),
  }),
  route({
    method: 'PUT',
    path: '/api/v1/targets/:reference/group',
    listener: 'api',
    action: 'target.write',
    summary: 'Give a target to a group, or to none (null)',
    input: z.strictObject({
      group: z
        .string()
        .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, 'groups are named as targets are')
        .nullable(),
    }),
    handle: async ({ site, params, identity }, { group }) =>
      regroupTarget(site, params['reference'] ?? '', group as Name | null, actorOf(identity)),
  }),
];
