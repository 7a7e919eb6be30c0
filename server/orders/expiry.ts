import type { Id } from '../../core/ids.ts';
import type { OrderEvent } from '../../core/order.ts';
import { getAgentBinding } from '../db/agent-keys.ts';
import { listOrdersIn, type Order, type OrderError } from '../db/orders.ts';
import { repeatEvery } from '../every.ts';
import type { Site } from '../site.ts';
import { advanceOrder, inOrderTransaction } from './advance.ts';

/** An order that is being stopped ends without its agent after this much silence. */
const RELEASE_AFTER_MS = 120_000;
const CHECK_EVERY_MS = 10_000;

/**
 * Ends orders that nobody else will end: a disk was verified and the deployed system did not call home in time
 * (`callHomeSeconds`), or an order is being stopped and its agent is gone. Time is measured with this process's
 * monotonic clock from when it first saw the order so: a clock that jumps fails no order, a restart of the server
 * starts the wait anew. Returns how to stop the check.
 */
export function startOrderExpiry(site: Site, everyMs = CHECK_EVERY_MS): () => Promise<void> {
  const firstSeen = new Map<string, number>();
  return repeatEvery(
    everyMs,
    () => expireOrders(site, firstSeen, performance.now()),
    (error) => site.log.error('the check for overdue orders failed; it runs again', { error: String(error) }),
  );
}

/** One pass. `firstSeen` holds since when (monotonic ms) each order waits, by order and reason. */
export async function expireOrders(site: Site, firstSeen: Map<string, number>, monotonicMs: number): Promise<void> {
  const waiting = new Set<string>();
  for (const order of await listOrdersIn(site.db, ['installing', 'cancelling'])) {
    const wait = await whatIsAwaited(site, order);
    if (wait === undefined) continue;
    const key = `${order.id} ${wait.kind}`;
    waiting.add(key);
    const since = firstSeen.get(key) ?? monotonicMs;
    firstSeen.set(key, since);
    if (monotonicMs - since >= wait.limitMs) await expire(site, order, wait);
  }
  for (const key of firstSeen.keys()) if (!waiting.has(key)) firstSeen.delete(key);
}

type Wait = { readonly kind: string; readonly limitMs: number; readonly event: OrderEvent; readonly error?: OrderError };

async function whatIsAwaited(site: Site, order: Order): Promise<Wait | undefined> {
  if (order.state === 'cancelling') {
    const heardAt = (await getAgentBinding(site.db, order.targetId))?.seenAt ?? 0;
    return { kind: `release after ${heardAt}`, limitMs: RELEASE_AFTER_MS, event: 'released' };
  }
  if (order.state !== 'installing' || !order.diskWritten) return undefined;
  const limitMs = site.config.callHomeSeconds * 1000;
  const message = `the disk was written and verified, but the deployed system did not call home within ${describeSpan(limitMs)}`;
  const hint =
    "look at the machine's screen: does it boot from its disk, does the image hold the first-boot service, can it reach this server?";
  return { kind: 'call home', limitMs, event: 'fail', error: { code: 'failed', message, hint } };
}

async function expire(site: Site, order: Order, wait: Wait): Promise<void> {
  const how = {
    actor: 'system',
    ...(wait.error === undefined ? {} : { patch: { error: wait.error }, data: { error: wait.error.message } }),
  };
  const move = (trx: Parameters<Parameters<typeof inOrderTransaction>[1]>[0]) => advanceOrder(site, trx, order.id as Id, wait.event, how);
  await inOrderTransaction(site, move, (moved) => moved.targetId);
  site.log.info('order ended by the check for overdue orders', { orderId: order.id, targetId: order.targetId, after: wait.kind });
}

function describeSpan(ms: number): string {
  return ms % 60_000 === 0 ? `${ms / 60_000} minutes` : `${Math.round(ms / 1000)} seconds`;
}
