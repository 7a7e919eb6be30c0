import { timingSafeEqual } from 'node:crypto';
import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import type { OrderState } from '../../core/order.ts';
import { appendEvent, listEvents } from '../db/events.ts';
import { findOrder, type Order } from '../db/orders.ts';
import type { Site } from '../site.ts';
import { advanceOrder, inOrderTransaction, wakeTarget } from './advance.ts';
import { noteActivity } from './hello.ts';

/** Wrong calls that are written down per order; the rest only cost the caller his rate limit. */
const MAX_REFUSALS_KEPT = 20;

/**
 * The call of the deployed system: with the order's nonce, and only after the agent verified the disk, it
 * makes the order `current`. Calling again is harmless.
 *
 * Errors: `token_wrong` (which the frame counts against the caller) for a wrong nonce or an unknown order (the same words for both); `wrong_state` when the
 * order ended otherwise or its disk is not reported as written yet.
 */
export async function callHome(site: Site, call: { orderId: string; nonce: string; from: string }): Promise<{ state: OrderState }> {
  const order = await findOrder(site.db, call.orderId);
  if (order === undefined || !sameNonce(order.nonce, call.nonce)) {
    if (order !== undefined) await site.db.transaction((trx) => noteRefusal(site, trx, order, call.from));
    throw new AppError('token_wrong', 'no order waits for this call', { hint: 'deploy the machine again' });
  }
  if (order.state !== 'current' && !order.diskWritten) {
    throw new AppError('wrong_state', `order ${order.id} is ${order.state}: its disk is not verified yet`);
  }
  const state = await inOrderTransaction(site, async (trx) => {
    const moved = await advanceOrder(site, trx, order.id, 'call-home', { actor: `target:${order.targetId}`, data: { address: call.from } });
    await noteActivity(site, trx, order.targetId, 'deployed', 'disk');
    return moved.state;
  });
  wakeTarget(site, order.targetId);
  return { state };
}

function sameNonce(expected: string, given: string): boolean {
  const [left, right] = [Buffer.from(expected), Buffer.from(given)];
  return left.length === right.length && timingSafeEqual(left, right);
}

async function noteRefusal(site: Site, trx: Knex.Transaction, order: Order, from: string): Promise<void> {
  const told = await listEvents(trx, { subject: order.id as Id, limit: 1000 });
  if (told.filter((event) => event.kind === 'order.call-home-refused').length >= MAX_REFUSALS_KEPT) return;
  const actor = 'anonymous';
  await appendEvent(trx, {
    origin: site.self.id,
    at: site.now(),
    actor,
    kind: 'order.call-home-refused',
    subject: order.id,
    data: { address: from },
  });
}
