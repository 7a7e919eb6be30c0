import type { Knex } from 'knex';
import type { Report } from '../../core/agent-protocol.ts';
import { AppError } from '../../core/errors.ts';
import { isOrderEnded, nextOrderState, type OrderEvent, type OrderState } from '../../core/order.ts';
import { touchAgentKey } from '../db/agent-keys.ts';
import { findOrder, type Order, type OrderPatch } from '../db/orders.ts';
import type { Site } from '../site.ts';
import { advanceOrder, inOrderTransaction, wakeTarget } from './advance.ts';
import { noteActivity } from './hello.ts';
import type { Agent } from './instruct.ts';

/**
 * Takes what an agent says of its task and answers the order's state: `cancelling`, `stopped` and `failed` tell
 * it to let go. A report that comes twice, or after the order ended, changes nothing.
 * Errors: `not_found` for an order of another target.
 */
export async function takeReport(site: Site, agent: Agent, report: Report): Promise<{ state: OrderState }> {
  const order = await inOrderTransaction(site, (trx) => applyReport(site, trx, agent, report));
  wakeTarget(site, agent.targetId);
  return { state: order.state };
}

async function applyReport(site: Site, trx: Knex.Transaction, agent: Agent, report: Report): Promise<Order> {
  await touchAgentKey(trx, agent.keyId, site.now());
  const order = await findOrder(trx, report.orderId);
  if (order === undefined || order.targetId !== agent.targetId) {
    throw new AppError('not_found', `there is no order ${report.orderId} for this machine`);
  }
  const event: OrderEvent = report.event === 'failed' ? 'fail' : report.event;
  if (isOrderEnded(order.state) || nextOrderState(order.state, event) === undefined) return order;
  await noteActivity(site, trx, order.targetId, activityOf(report));
  return advanceOrder(site, trx, order.id, event, {
    actor: `agent:${agent.keyId}`,
    patch: patchOf(order, report, site.now()),
    ...dataOf(report),
  });
}

function patchOf(order: Order, report: Report, now: number): OrderPatch {
  return {
    ...(report.progress === undefined ? {} : { progress: report.progress }),
    ...(report.figures === undefined ? {} : { figures: report.figures }),
    ...(report.event === 'failed' ? { error: report.error ?? { code: 'failed', message: 'the agent gave no reason' } } : {}),
    ...(report.event === 'verified' && !order.diskWritten ? { diskWritten: true, verifiedAt: now } : {}),
  };
}

function dataOf(report: Report): { data?: Record<string, string | number> } {
  if (report.event === 'failed' && report.error !== undefined) return { data: { error: report.error.message } };
  return report.event === 'verified' ? { data: { ...report.figures } } : {};
}

function activityOf(report: Report): string {
  if (report.event === 'progress') return `deploying ${Math.floor(report.progress?.percent ?? 0)} %`;
  if (report.event === 'verified') return 'rebooting to disk';
  return 'waiting';
}
