import { z } from 'zod';
import { AppError } from '../../../core/errors.ts';
import { parseDigest } from '../../../core/ids.ts';
import { isOrderEnded, type OrderState } from '../../../core/order.ts';
import { approveAnywhere, haltOrder, placeOrder } from '../../control/place.ts';
import { listAllOrders, locateOrder } from '../../control/things-below.ts';
import type { OrderView } from '../../orders/view.ts';
import type { Site } from '../../site.ts';
import { actorOf } from '../actor.ts';
import { type Route, type RouteContext, route } from '../route.ts';

const reference = z.string().min(1).max(128);

const NewOrderInput = z.strictObject({
  target: reference,
  image: reference,
  /** Kernel name of the disk; without it the agent takes the smallest fixed disk that fits. */
  disk: z
    .string()
    .regex(/^[a-zA-Z0-9!._-]{1,32}$/)
    .optional(),
});

const ListInput = z.object({
  target: reference.optional(),
  before: z.string().max(36).optional(),
  limit: z.coerce.number().int().min(1).max(1000).optional(),
});

/** `after`: answer when the order's revision is another one, or after 25 s. */
const ShowInput = z.object({ after: z.coerce.number().int().nonnegative().optional() });

const FOLLOW_MS = 25_000;

async function showOrder({ site, params, signal }: RouteContext, after: number | undefined): Promise<OrderView> {
  const id = params['id'] ?? '';
  return after === undefined ? viewAnyOrder(site, id) : followOrder(site, id, after, signal);
}

async function viewAnyOrder(site: Site, id: string): Promise<OrderView> {
  const located = await locateOrder(site, id);
  return located.where === 'here' ? located.view : located.below.view;
}

async function followOrder(site: Site, id: string, after: number, signal: AbortSignal): Promise<OrderView> {
  const deadline = performance.now() + FOLLOW_MS;
  for (;;) {
    const { targetId } = await viewAnyOrder(site, id);
    const answered = new AbortController();
    const remaining = Math.max(0, deadline - performance.now());
    const woken = site.wake.wait(`target:${targetId}`, remaining, AbortSignal.any([signal, answered.signal]));
    const order = await viewAnyOrder(site, id);
    if (order.revision !== after || isOrderEnded(order.state as OrderState) || remaining === 0 || signal.aborted) {
      answered.abort();
      return order;
    }
    await woken;
  }
}

export const ORDER_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: '/api/v1/orders',
    listener: 'api',
    action: 'order.write',
    summary: 'Deploy an image to a target',
    input: NewOrderInput,
    handle: async ({ site, identity }, input) => {
      const request = { targetRef: input.target, imageRef: input.image, disk: input.disk, actor: actorOf(identity) };
      return placeOrder(site, request);
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/orders',
    listener: 'api',
    action: 'order.read',
    summary: 'Orders, newest first',
    input: ListInput,
    handle: async ({ site }, input) => listAllOrders(site, input),
  }),
  route({
    method: 'GET',
    path: '/api/v1/orders/:id',
    listener: 'api',
    action: 'order.read',
    summary: 'One order; with ?after=REVISION as soon as it changed',
    input: ShowInput,
    handle: (context, input) => showOrder(context, input.after),
  }),
  route({
    method: 'POST',
    path: '/api/v1/orders/:id/stop',
    listener: 'api',
    action: 'order.write',
    summary: 'Stop an order',
    handle: async ({ site, params, identity }) => haltOrder(site, params['id'] ?? '', actorOf(identity)),
  }),
  route({
    method: 'POST',
    path: '/api/v1/targets/:id/approve',
    listener: 'api',
    action: 'target.write',
    summary: 'Let the agent key that waits speak for its machine',
    input: z.strictObject({ keyId: z.string().max(71) }),
    handle: async ({ site, params, identity }, { keyId }) => {
      if (params['id'] === undefined) throw new AppError('not_found', 'no target was named');
      return approveAnywhere(site, params['id'], parseDigest(keyId), actorOf(identity));
    },
  }),
];
