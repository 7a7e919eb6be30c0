import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import { isOrderEnded, nextOrderState, type OrderEvent } from '../../core/order.ts';
import { setAgentOrder } from '../db/agent-keys.ts';
import { appendEvent } from '../db/events.ts';
import { inTransaction } from '../db/open.ts';
import { deleteActiveOrder, findOrder, type Order, type OrderPatch, updateOrder } from '../db/orders.ts';
import type { Site } from '../site.ts';

/** Who moved an order, and what else it should remember of it. */
export type Advance = {
  readonly actor: string;
  readonly patch?: Omit<OrderPatch, 'state' | 'endedAt'>;
  /** For the timeline, beside the two states. */
  readonly data?: Readonly<Record<string, string | number | null>>;
};

/**
 * Moves an order by one event, in the caller's transaction: the only place that writes an order's state.
 * A move to another state is told in the event log as `order.<state>`; an ended order frees its target.
 * Returns the order as it is afterwards.
 *
 * Errors: `not_found`; `wrong_state` when the table of core/order.ts has no such move; `busy` when somebody
 * else moved the order between our read and our write (`inOrderTransaction` tries again).
 */
export async function advanceOrder(site: Site, trx: Knex.Transaction, orderId: Id, event: OrderEvent, how: Advance): Promise<Order> {
  const was = await findOrder(trx, orderId);
  if (was === undefined) throw new AppError('not_found', `there is no order ${orderId}`);
  const state = nextOrderState(was.state, event);
  if (state === undefined) {
    throw new AppError('wrong_state', `order ${orderId} is ${was.state}: "${event}" is not possible`, {
      hint: 'see "order show"',
    });
  }
  const now = site.now();
  const ended = isOrderEnded(state) && !isOrderEnded(was.state);
  const patch: OrderPatch = { ...how.patch, state, ...(ended ? { endedAt: now } : {}) };
  if (state === was.state && !changesSomething(was, patch)) return was;
  if (!(await updateOrder(trx, was, patch, now))) throw new AppError('busy', `order ${orderId} was changed by somebody else meanwhile`);
  if (ended) await releaseTarget(trx, was);
  if (state !== was.state || event === 'verified') {
    const kind = state === was.state ? `order.${event}` : `order.${state}`;
    const data = { from: was.state, to: state, target: was.targetId, image: was.imageReference, ...how.data };
    await appendEvent(trx, { origin: site.self.id, at: now, actor: how.actor, kind, subject: orderId, data });
    logWhenCommitted(site, trx, kind, { orderId, targetId: was.targetId, actor: how.actor, ...how.data, from: was.state });
  }
  return { ...was, ...patch, revision: was.revision + 1, updatedAt: now };
}

/** A transaction that is rolled back moved nothing: its work is run again, or its caller is told. */
function logWhenCommitted(site: Site, trx: Knex.Transaction, kind: string, facts: Readonly<Record<string, unknown>>): void {
  void trx.executionPromise.then(
    () => site.log.info(kind, facts),
    () => undefined,
  );
}

function changesSomething(was: Order, patch: OrderPatch): boolean {
  return Object.entries(patch).some(([key, value]) => JSON.stringify(was[key as keyof Order]) !== JSON.stringify(value));
}

async function releaseTarget(trx: Knex.Transaction, order: Order): Promise<void> {
  // A refused order never had the target: another one may be at work there.
  if (await deleteActiveOrder(trx, order)) await setAgentOrder(trx, order.targetId, null);
}

const ATTEMPTS = 5;

/**
 * Runs a unit of work that moves orders, again when it lost a race, and wakes whoever waits for the target.
 * The work returns the orders it touched in any shape; `targetOf` says whom to wake.
 */
export async function inOrderTransaction<Result>(
  site: Site,
  work: (trx: Knex.Transaction) => Promise<Result>,
  targetOf: (result: Result) => Id | undefined = () => undefined,
): Promise<Result> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const result = await inTransaction(site.db, work);
      const targetId = targetOf(result);
      if (targetId !== undefined) wakeTarget(site, targetId);
      return result;
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'busy' || attempt === ATTEMPTS) throw error;
    }
  }
}

/** Tells the agent's long poll, and whoever follows events, to look at the database again. */
export function wakeTarget(site: Site, targetId: Id): void {
  site.wake.notify(`target:${targetId}`);
  site.wake.notify('events');
}
