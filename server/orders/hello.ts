import type { Knex } from 'knex';
import { AGENT_PROTOCOL, type Hello, type Welcome } from '../../core/agent-protocol.ts';
import { AppError } from '../../core/errors.ts';
import { type Digest, type Id, parseMac } from '../../core/ids.ts';
import { nextOrderState } from '../../core/order.ts';
import { policyOf } from '../control/policies.ts';
import { type AgentBinding, getAgentBinding, noteRefusedKey, replaceAgentKey, touchAgentKey } from '../db/agent-keys.ts';
import { type Boot, findBoot } from '../db/boots.ts';
import { appendEvent } from '../db/events.ts';
import { findActiveOrder } from '../db/orders.ts';
import { findTargetBy, type Target, updateTarget } from '../db/targets.ts';
import type { Site } from '../site.ts';
import { advanceOrder, inOrderTransaction, wakeTarget } from './advance.ts';
import { type BindingDecision, decideBinding } from './bind-agent.ts';

/**
 * An agent introduces itself: binds its key to the target of its boot id, or refuses, and notes the inventory.
 *
 * Errors: `version_mismatch`; `denied` for a boot id that we did not give out or a second key (told as event
 * `agent.key-refused`); `waiting` while an operator must approve the key.
 */
export async function sayHello(site: Site, keyId: Digest, hello: Hello): Promise<Welcome> {
  if (hello.protocol !== AGENT_PROTOCOL) {
    const message = `the agent speaks protocol ${hello.protocol}, this server ${AGENT_PROTOCOL}`;
    throw new AppError('version_mismatch', message, { hint: 'build the engine again with this release: "engine build"' });
  }
  const { target, decision } = await inOrderTransaction(site, (trx) => meet(site, trx, keyId, hello));
  wakeTarget(site, target.id);
  if (decision.kind === 'refuse') {
    throw new AppError('denied', `this machine's agent is refused: ${decision.reason}`, {
      hint: 'if this is the machine, it is let in a minute after the other key falls silent; if not, look for a stranger on its network',
    });
  }
  if (decision.kind === 'wait') {
    throw new AppError('waiting', `agent key ${keyId} waits for an operator`, { hint: 'compare the key with the console and approve it' });
  }
  return { protocol: AGENT_PROTOCOL, targetId: target.id, targetName: target.name, nowMs: site.now() };
}

type Meeting = { readonly target: Target; readonly decision: BindingDecision };

async function meet(site: Site, trx: Knex.Transaction, keyId: Digest, hello: Hello): Promise<Meeting> {
  const boot = await findBoot(trx, hello.bootId);
  const target = boot === undefined ? undefined : await findTargetBy(trx, 'id', boot.targetId);
  if (boot === undefined || target === undefined) {
    throw new AppError('denied', 'this boot id was not given out by this server', { hint: 'boot the machine from the network again' });
  }
  const binding = await getAgentBinding(trx, target.id);
  const order = await findActiveOrder(trx, target.id);
  const policy = await policyOf({ ...site, db: trx }, 'approve');
  const facts = { keyId, boot, binding, hasActiveOrder: order !== undefined, policy, now: site.now() };
  const decision = decideBinding(facts);
  await keepDecision(site, trx, { target, boot, binding, keyId, decision });
  if (decision.kind === 'same' || decision.kind === 'bind') {
    await noteArrival(site, trx, target, hello);
    if (order && !order.diskWritten && nextOrderState(order.state, 'arrive') !== undefined) {
      await advanceOrder(site, trx, order.id, 'arrive', { actor: `agent:${keyId}` });
    }
  }
  return { target, decision };
}

type Kept = Meeting & { readonly boot: Boot; readonly binding: AgentBinding | undefined; readonly keyId: Digest };

async function keepDecision(site: Site, trx: Knex.Transaction, { target, boot, binding, keyId, decision }: Kept): Promise<void> {
  const now = site.now();
  const tell = (kind: string, data: Record<string, string>) =>
    appendEvent(trx, {
      origin: site.self.id,
      at: now,
      actor: `agent:${keyId}`,
      kind,
      subject: target.id,
      data: { keyId, boot: boot.id, ...data },
    });
  if (decision.kind === 'refuse') {
    if (binding?.refusedKeyId !== keyId) await tell('agent.key-refused', { reason: decision.reason });
    await noteRefusedKey(trx, target.id, keyId, now);
    return;
  }
  if (binding?.keyId === keyId) return touchAgentKey(trx, keyId, now, boot.id);
  const state = decision.kind === 'wait' ? 'waiting' : 'bound';
  if (!(await replaceAgentKey(trx, binding, { targetId: target.id, keyId, bootId: boot.id, state, now }))) {
    throw new AppError('busy', 'another key said hello at the same moment');
  }
  await tell(state === 'bound' ? 'agent.key-bound' : 'agent.key-waits', {});
}

/** What an engine that is up and known means for the target's row. Text from the machine was bounded by the schema. */
async function noteArrival(site: Site, trx: Knex.Transaction, target: Target, hello: Hello): Promise<void> {
  const { arch, firmware } = hello.inventory;
  const inventory = { ...hello.inventory, nics: hello.inventory.nics.map((nic) => ({ ...nic, mac: parseMac(nic.mac) })) };
  const patch = { arch, firmware, inventory, environment: 'engine', activity: 'waiting', seenAt: site.now() } as const;
  if (!(await updateTarget(trx, target, patch))) throw new AppError('busy', `target ${target.id} was changed meanwhile`);
}

/** Shows what the machine does now; losing the race against another note is of no importance. */
export async function noteActivity(site: Site, db: Knex, targetId: Id, activity: string, environment?: 'engine' | 'disk'): Promise<void> {
  const target = await findTargetBy(db, 'id', targetId);
  if (target === undefined) return;
  await updateTarget(db, target, {
    activity: activity.slice(0, 64),
    seenAt: site.now(),
    ...(environment === undefined ? {} : { environment }),
  });
}
