import type { Knex } from 'knex';
import type { Digest, Id } from '../../core/ids.ts';

/**
 * Which self-made key speaks for a target. `bound` keys work; a `waiting` key said hello under the policy
 * `operator` and has no rights until it is approved. At most one row per target.
 */
export type AgentBinding = {
  readonly targetId: Id;
  /** SHA-256 of the key's SPKI. */
  readonly keyId: Digest;
  readonly bootId: Id;
  readonly state: 'bound' | 'waiting';
  readonly orderId: Id | null;
  readonly boundAt: number;
  readonly seenAt: number;
  readonly refusedKeyId: Digest | null;
  readonly refusedAt: number | null;
};

/** What one database row holds. */
type Row = {
  target_id: Id;
  key_id: Digest;
  boot_id: Id;
  state: 'bound' | 'waiting';
  order_id: Id | null;
  bound_at: number;
  seen_at: number;
  refused_key_id: Digest | null;
  refused_at: number | null;
};

function fromRow(row: Row): AgentBinding {
  return {
    targetId: row.target_id,
    keyId: row.key_id,
    bootId: row.boot_id,
    state: row.state,
    orderId: row.order_id,
    boundAt: Number(row.bound_at),
    seenAt: Number(row.seen_at),
    refusedKeyId: row.refused_key_id,
    refusedAt: row.refused_at === null ? null : Number(row.refused_at),
  };
}

/** The target that a key is bound to; undefined for unknown keys and for those that still wait for approval. */
export async function findAgentKey(db: Knex, keyId: string): Promise<AgentBinding | undefined> {
  const row = await db<Row>('agent_keys')
    .where({ key_id: keyId as Digest, state: 'bound' })
    .first();
  return row === undefined ? undefined : fromRow(row);
}

/** The binding of a target, waiting ones included. */
export async function getAgentBinding(db: Knex, targetId: Id): Promise<AgentBinding | undefined> {
  const row = await db<Row>('agent_keys').where({ target_id: targetId }).first();
  return row === undefined ? undefined : fromRow(row);
}

/** The bindings of these targets, waiting ones included. */
export async function listAgentBindings(db: Knex, targetIds: readonly Id[]): Promise<AgentBinding[]> {
  return (await db<Row>('agent_keys').whereIn('target_id', [...targetIds])).map(fromRow);
}

/**
 * Makes a key the target's own in place of `expected` (the key read before, undefined for none).
 * Returns false when another key got there first.
 */
export async function replaceAgentKey(
  db: Knex,
  expected: AgentBinding | undefined,
  binding: { targetId: Id; keyId: Digest; bootId: Id; state: 'bound' | 'waiting'; now: number },
): Promise<boolean> {
  const fields = {
    key_id: binding.keyId,
    boot_id: binding.bootId,
    state: binding.state,
    order_id: null,
    bound_at: binding.now,
    seen_at: binding.now,
    refused_key_id: null,
    refused_at: null,
  };
  if (expected !== undefined) {
    return (await db<Row>('agent_keys').where({ target_id: expected.targetId, key_id: expected.keyId }).update(fields)) === 1;
  }
  await db<Row>('agent_keys').insert({ target_id: binding.targetId, ...fields });
  return true;
}

/** Notes that the key spoke; `bootId` when it said hello again after the agent was restarted. */
export async function touchAgentKey(db: Knex, keyId: Digest, now: number, bootId?: Id): Promise<void> {
  await db<Row>('agent_keys')
    .where({ key_id: keyId })
    .update({ seen_at: now, ...(bootId === undefined ? {} : { boot_id: bootId }) });
}

/** The key now holds (or, with null, no longer holds) the task of this order. */
export async function setAgentOrder(db: Knex, targetId: Id, orderId: Id | null): Promise<void> {
  await db<Row>('agent_keys').where({ target_id: targetId }).update({ order_id: orderId });
}

export async function noteRefusedKey(db: Knex, targetId: Id, keyId: Digest, now: number): Promise<void> {
  await db<Row>('agent_keys').where({ target_id: targetId }).update({ refused_key_id: keyId, refused_at: now });
}

/** Turns the waiting key into the bound one. Returns false when this key does not wait for this target. */
export async function approveAgentKey(db: Knex, targetId: Id, keyId: Digest, now: number): Promise<boolean> {
  const changed = await db<Row>('agent_keys')
    .where({ target_id: targetId, key_id: keyId, state: 'waiting' })
    .update({ state: 'bound', bound_at: now });
  return changed === 1;
}
