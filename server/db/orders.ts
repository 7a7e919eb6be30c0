import type { Knex } from 'knex';
import { type Digest, type Id, newIdAfter } from '../../core/ids.ts';
import type { OrderState } from '../../core/order.ts';
import type { Progress } from '../../core/progress.ts';
import { joinTransaction } from './open.ts';
import { markChanged } from './outbox.ts';

export type OrderError = { readonly code: string; readonly message: string; readonly hint?: string | undefined };

/** One job applied to one target, as the database holds it. `nonce` leaves the server only towards the bound agent. */
export type Order = {
  readonly id: Id;
  readonly jobId: Id;
  readonly targetId: Id;
  readonly imageId: Id;
  /** `name@version`, as resolved when the order was made. */
  readonly imageReference: string;
  readonly manifest: Digest;
  readonly state: OrderState;
  readonly revision: number;
  readonly nonce: string;
  /** The agent read the disk back and wrote the first-boot record. */
  readonly diskWritten: boolean;
  readonly verifiedAt: number | null;
  readonly progress: Progress | null;
  readonly error: OrderError | null;
  readonly figures: Readonly<Record<string, number>> | null;
  /** The server above us where it was made; null for our own. */
  readonly managedBy: Id | null;
  /** In words, while it is `planned`. */
  readonly waitsFor: string | null;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly endedAt: number | null;
};

type Row = {
  id: Id;
  job_id: Id;
  target_id: Id;
  image_id: Id;
  image_reference: string;
  manifest: Digest;
  state: OrderState;
  revision: number;
  origin: Id;
  nonce: string;
  disk_written: boolean | number;
  verified_at: number | null;
  progress: string | null;
  error: string | null;
  figures: string | null;
  managed_by: Id | null;
  waits_for: string | null;
  created_at: number;
  updated_at: number;
  ended_at: number | null;
};

function fromRow(row: Row): Order {
  return {
    id: row.id,
    jobId: row.job_id,
    targetId: row.target_id,
    imageId: row.image_id,
    imageReference: row.image_reference,
    manifest: row.manifest,
    state: row.state,
    revision: row.revision,
    nonce: row.nonce,
    diskWritten: Boolean(row.disk_written),
    verifiedAt: row.verified_at === null ? null : Number(row.verified_at),
    progress: parse<Progress>(row.progress),
    error: parse<OrderError>(row.error),
    figures: parse<Record<string, number>>(row.figures),
    managedBy: row.managed_by,
    waitsFor: row.waits_for,
    createdAt: Number(row.created_at),
    updatedAt: Number(row.updated_at),
    endedAt: row.ended_at === null ? null : Number(row.ended_at),
  };
}

function parse<T>(text: string | null): T | null {
  return text === null ? null : (JSON.parse(text) as T);
}

export type NewOrder = Pick<Order, 'id' | 'jobId' | 'targetId' | 'imageId' | 'imageReference' | 'manifest' | 'nonce'> & {
  readonly origin: Id;
  readonly now: number;
  readonly managedBy?: Id | undefined;
  readonly waitsFor?: string | undefined;
};

/** Inserts an order in the state `planned` and makes it the target's active one; a second active one breaks a key. */
export async function insertOrder(db: Knex, order: NewOrder): Promise<void> {
  await db('active_orders').insert({ target_id: order.targetId, order_id: order.id });
  await insertIdleOrder(db, order);
  await markChanged(db, 'target', order.targetId);
}

/** As `insertOrder`, for an order that is refused in the same transaction: it takes its target from nobody. */
export async function insertIdleOrder(db: Knex, order: NewOrder): Promise<void> {
  await db('orders').insert({
    id: order.id,
    job_id: order.jobId,
    target_id: order.targetId,
    image_id: order.imageId,
    image_reference: order.imageReference,
    manifest: order.manifest,
    state: 'planned' satisfies OrderState,
    revision: 1,
    origin: order.origin,
    nonce: order.nonce,
    disk_written: false,
    managed_by: order.managedBy ?? null,
    waits_for: order.waitsFor ?? null,
    created_at: order.now,
    updated_at: order.now,
  });
  await markChanged(db, 'order', order.id);
}

/**
 * An id for an order that is made here: lists are by id, so it is above those that were made here before, whatever the clock
 * says. Ids that another server chose are by its clock, and do not count.
 */
export async function nextOrderId(db: Knex, now: number): Promise<Id> {
  const newest = await db<Row>('orders').whereNull('managed_by').orderBy('id', 'desc').first('id');
  return newIdAfter(newest?.id, now);
}

export async function findOrder(db: Knex, id: string): Promise<Order | undefined> {
  const row = await db<Row>('orders')
    .where({ id: id as Id })
    .first();
  return row === undefined ? undefined : fromRow(row);
}

/** Newest first; `before` is the id of the last order of the page before. */
export async function selectOrders(db: Knex, filter: { targetId?: Id; before?: string; limit: number }): Promise<Order[]> {
  const query = db<Row>('orders').orderBy('id', 'desc').limit(filter.limit);
  if (filter.targetId !== undefined) query.where('target_id', filter.targetId);
  if (filter.before !== undefined) query.where('id', '<', filter.before);
  return (await query).map(fromRow);
}

/** The target's order that has not ended, if there is one. */
export async function findActiveOrder(db: Knex, targetId: Id): Promise<Order | undefined> {
  const active = await db('active_orders').where({ target_id: targetId }).first<{ order_id: Id } | undefined>('order_id');
  return active === undefined ? undefined : findOrder(db, active.order_id);
}

export async function listActiveOrders(db: Knex): Promise<Order[]> {
  const rows = await db<Row>('orders').whereIn('id', db('active_orders').select('order_id')).orderBy('id');
  return rows.map(fromRow);
}

/** The orders of these targets that have not ended. */
export async function listActiveOrdersOf(db: Knex, targetIds: readonly Id[]): Promise<Order[]> {
  const ids = db('active_orders')
    .whereIn('target_id', [...targetIds])
    .select('order_id');
  return (await db<Row>('orders').whereIn('id', ids)).map(fromRow);
}

/** Orders in one of these states, oldest first. */
export async function listOrdersIn(db: Knex, states: readonly OrderState[]): Promise<Order[]> {
  return (
    await db<Row>('orders')
      .whereIn('state', [...states])
      .orderBy('id')
  ).map(fromRow);
}

/**
 * Whether the target must be booted into the engine: it has an order that waits for nothing, has not ended, and whose
 * disk is not written yet. Once the disk is verified the machine boots from it, although the order is still active.
 */
export async function hasActiveOrder(db: Knex, targetId: Id): Promise<boolean> {
  const order = await findActiveOrder(db, targetId);
  return order !== undefined && order.waitsFor === null && !order.diskWritten;
}

/** Orders that wait for something before they may start, oldest first. */
export async function listWaitingOrders(db: Knex): Promise<Order[]> {
  return (await db<Row>('orders').where({ state: 'planned' }).whereNotNull('waits_for').orderBy('id')).map(fromRow);
}

export type OrderPatch = Partial<
  Pick<Order, 'state' | 'waitsFor' | 'diskWritten' | 'verifiedAt' | 'progress' | 'error' | 'figures' | 'endedAt'>
>;

/** Changes an order that is still as it was read. Returns false when somebody else changed it in between. */
export async function updateOrder(db: Knex, was: Order, patch: OrderPatch, now: number): Promise<boolean> {
  const fields: Partial<Row> = { revision: was.revision + 1, updated_at: now };
  if (patch.state !== undefined) fields.state = patch.state;
  if (patch.diskWritten !== undefined) fields.disk_written = patch.diskWritten;
  if (patch.verifiedAt !== undefined) fields.verified_at = patch.verifiedAt;
  if (patch.progress !== undefined) fields.progress = stored(patch.progress);
  if (patch.error !== undefined) fields.error = stored(patch.error);
  if (patch.figures !== undefined) fields.figures = stored(patch.figures);
  if (patch.waitsFor !== undefined) fields.waits_for = patch.waitsFor;
  if (patch.endedAt !== undefined) fields.ended_at = patch.endedAt;
  return joinTransaction(db, async (trx) => {
    const expected = { id: was.id, state: was.state, revision: was.revision };
    if ((await trx<Row>('orders').where(expected).update(fields)) !== 1) return false;
    await markChanged(trx, 'order', was.id);
    // A target is shown with its order: servers above are told of each state, not of each second of progress.
    if (patch.state !== undefined && patch.state !== was.state) await markChanged(trx, 'target', was.targetId);
    return true;
  });
}

function stored(value: unknown): string | null {
  return value === null ? null : JSON.stringify(value);
}

/** Returns false when the target was not this order's. */
export async function deleteActiveOrder(db: Knex, order: Order): Promise<boolean> {
  return (await db('active_orders').where({ target_id: order.targetId, order_id: order.id }).delete()) === 1;
}
