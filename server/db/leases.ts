import type { Knex } from 'knex';
import { isUniqueViolation } from './open.ts';

/** A lease in force. `fencing` is higher than that of every earlier holder: whoever acts under the lease repeats it. */
export type Lease = { readonly name: string; readonly holder: string; readonly fencing: number };

/**
 * Takes the lease when it is free or past its time, or ends so far ahead (two `ttlMs`) that a wrong clock
 * took it; undefined when somebody else has it. The same holder may take it again and gets a higher number. One conditional update decides, so there is one winner on every database.
 */
export async function acquireLease(
  db: Knex,
  wish: { readonly name: string; readonly holder: string; readonly ttlMs: number; readonly now: number },
): Promise<Lease | undefined> {
  const { name, holder, ttlMs, now } = wish;
  const row = await db('leases').where({ name }).first('holder', 'fencing', 'expires_at');
  if (row === undefined) return insertLease(db, wish);
  const leftMs = Number(row.expires_at) - now;
  if (row.holder !== null && row.holder !== holder && leftMs > 0 && leftMs <= 2 * ttlMs) return undefined;
  const fencing = Number(row.fencing) + 1;
  const taken = await db('leases')
    .where({ name, fencing: row.fencing, expires_at: row.expires_at })
    .update({ holder, fencing, expires_at: now + ttlMs });
  return taken === 1 ? { name, holder, fencing } : undefined;
}

async function insertLease(
  db: Knex,
  { name, holder, ttlMs, now }: { name: string; holder: string; ttlMs: number; now: number },
): Promise<Lease | undefined> {
  try {
    await db('leases').insert({ name, holder, fencing: 1, expires_at: now + ttlMs });
    return { name, holder, fencing: 1 };
  } catch (error) {
    if (isUniqueViolation(error)) return undefined;
    throw error;
  }
}

/** Moves the end of the lease to `now + ttlMs`; false when it is no longer ours. */
export async function renewLease(db: Knex, lease: Lease, { ttlMs, now }: { ttlMs: number; now: number }): Promise<boolean> {
  const { name, holder, fencing } = lease;
  return (
    (await db('leases')
      .where({ name, holder, fencing })
      .update({ expires_at: now + ttlMs })) === 1
  );
}

/** Gives the lease back; harmless when it is no longer ours. The number stays, so that the next one is higher. */
export async function releaseLease(db: Knex, { name, holder, fencing }: Lease): Promise<void> {
  await db('leases').where({ name, holder, fencing }).update({ holder: null, expires_at: 0 });
}

/** Whether nobody took the lease since: for the transaction that acts under it. */
export async function isHeld(db: Knex, { name, holder, fencing }: Lease): Promise<boolean> {
  return (await db('leases').where({ name, holder, fencing }).first('name')) !== undefined;
}

/** Gives every lease back: their holders belong to a life that this database was set back from. */
export async function freeLeases(trx: Knex): Promise<void> {
  await trx('leases').update({ holder: null, expires_at: 0 });
}
