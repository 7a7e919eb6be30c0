import type { Knex } from 'knex';
import { databaseTime } from '../dialect-time.ts';
import type { Lease } from '../leases.ts';

/*
 * Leases between servers, all in the database's time: no clock of a server counts. Each statement decides by itself, so
 * there is one winner on every database.
 */

type Wish = { readonly name: string; readonly holder: string };

/** Whether `acquireSharedLease` may come to something now: one row that is read, and no transaction. */
export async function isSharedLeaseFree(db: Knex, wish: Wish): Promise<boolean> {
  return isFor(await readLease(db, wish), wish);
}

function readLease(db: Knex, { name }: Wish): Promise<{ fencing: number; left_ms: number; holder: string | null } | undefined> {
  return db('shared_leases')
    .where({ name })
    .first('fencing', db.raw('expires_at - (?) as left_ms', [databaseTime(db)]), 'holder');
}

function isFor(row: Awaited<ReturnType<typeof readLease>>, { holder }: Wish): boolean {
  return row === undefined || row.holder === null || row.holder === holder || Number(row.left_ms) <= 0;
}

/**
 * Takes the lease when it is free, past its time, or the holder's own already; undefined when somebody else has it.
 */
export async function acquireSharedLease(db: Knex, wish: Wish & { readonly ttlMs: number }): Promise<Lease | undefined> {
  const { name, holder, ttlMs } = wish;
  const isFree = (row: Knex.QueryBuilder) => row.whereNull('holder').orWhere({ holder }).orWhere('expires_at', '<=', databaseTime(db));
  const row = await readLease(db, wish);
  if (row === undefined) await db('shared_leases').insert({ name, holder: null, fencing: 0, expires_at: 0 }).onConflict('name').ignore();
  else if (!isFor(row, wish)) return undefined;
  const fencing = Number(row?.fencing ?? 0) + 1;
  const taken = await db('shared_leases')
    .where({ name, fencing: fencing - 1 })
    .where(isFree)
    .update({ holder, fencing, expires_at: endOf(db, ttlMs) });
  return taken === 1 ? { name, holder, fencing } : undefined;
}

/** Moves the end of the lease; false when it is no longer ours. */
export async function renewSharedLease(db: Knex, { name, holder, fencing }: Lease, ttlMs: number): Promise<boolean> {
  return (
    (await db('shared_leases')
      .where({ name, holder, fencing })
      .update({ expires_at: endOf(db, ttlMs) })) === 1
  );
}

/** Gives the lease back; harmless when it is no longer ours. The number stays, so that the next one is higher. */
export async function releaseSharedLease(db: Knex, { name, holder, fencing }: Lease): Promise<void> {
  await db('shared_leases').where({ name, holder, fencing }).update({ holder: null, expires_at: 0 });
}

/**
 * Whether the lease is still ours, its row written until the transaction ends: nobody takes it over before what is written
 * here is there. Also past its time, as long as nobody took it; its end moves by a millisecond.
 *
 * A row that is only locked (`for update`), or written as it was, is no part of what a Galera node sends to the others: whoever
 * took the lease at another node, and this transaction, would both be carried out (docs/decisions/0027).
 */
export async function holdSharedLease(trx: Knex.Transaction, { name, holder, fencing }: Lease): Promise<boolean> {
  return (await trx('shared_leases').where({ name, holder, fencing }).increment('expires_at', 1)) === 1;
}

export type SharedLease = Lease & { readonly leftMs: number };

/** Leases in force. */
export async function listSharedLeases(db: Knex): Promise<SharedLease[]> {
  const rows = await db('shared_leases')
    .whereNotNull('holder')
    .where('expires_at', '>', databaseTime(db))
    .select('name', 'holder', 'fencing', db.raw('expires_at - (?) as left_ms', [databaseTime(db)]));
  return rows.map(({ name, holder, fencing, left_ms }) => ({ name, holder, fencing: Number(fencing), leftMs: Number(left_ms) }));
}

function endOf(db: Knex, ttlMs: number): Knex.Raw {
  return db.raw('(?) + ?', [databaseTime(db), ttlMs]);
}
