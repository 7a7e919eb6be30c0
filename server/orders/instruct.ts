import type { Knex } from 'knex';
import type { DeployTask, Instruction } from '../../core/agent-protocol.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest, Id } from '../../core/ids.ts';
import { setAgentOrder, touchAgentKey } from '../db/agent-keys.ts';
import { getDeployParams } from '../db/jobs.ts';
import { findActiveOrder, type Order } from '../db/orders.ts';
import type { Site } from '../site.ts';
import { advanceOrder, inOrderTransaction } from './advance.ts';

/** Below the time-outs of proxies and of the agent's own request. */
const LONG_POLL_MS = 25_000;

export type Agent = { readonly targetId: Id; readonly keyId: Digest };

/**
 * What the agent of a target shall do next. Waits until there is something else than waiting, at most
 * `waitMs`. Handing out the same task again is harmless: the step goes on where the disk says.
 */
export async function instruct(site: Site, agent: Agent, signal: AbortSignal, waitMs = LONG_POLL_MS): Promise<Instruction> {
  const deadline = performance.now() + waitMs;
  for (;;) {
    const remaining = Math.max(0, deadline - performance.now());
    const answered = new AbortController();
    // Listen before looking: a wake-up between the two must not be lost.
    const woken = site.wake.wait(`target:${agent.targetId}`, remaining, AbortSignal.any([signal, answered.signal]));
    const instruction = await inOrderTransaction(site, (trx) => chooseInstruction(site, trx, agent));
    if (instruction.action !== 'wait' || remaining === 0 || signal.aborted) {
      answered.abort();
      return instruction;
    }
    await woken;
  }
}

async function chooseInstruction(site: Site, trx: Knex.Transaction, agent: Agent): Promise<Instruction> {
  await touchAgentKey(trx, agent.keyId, site.now());
  const order = await findActiveOrder(trx, agent.targetId);
  if (order === undefined) return { action: 'wait', reason: 'no order' };
  if (order.state === 'planned') return { action: 'wait', reason: 'the order is planned for later' };
  if (order.state === 'cancelling') return { action: 'stop', orderId: order.id };
  if (order.diskWritten) return { action: 'reboot', reason: `the disk of order ${order.id} is written` };
  await advanceOrder(site, trx, order.id, 'claim', { actor: `agent:${agent.keyId}` });
  await setAgentOrder(trx, agent.targetId, order.id);
  return { action: 'task', task: await taskOf(trx, order) };
}

async function taskOf(trx: Knex.Transaction, order: Order): Promise<DeployTask> {
  const params = await getDeployParams(trx, order.jobId);
  if (params === undefined) throw new AppError('not_found', `order ${order.id} has no deploy task`);
  return { kind: 'deploy', orderId: order.id, manifest: order.manifest, ...params, firstBoot: { nonce: order.nonce } };
}
