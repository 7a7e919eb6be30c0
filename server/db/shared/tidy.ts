import type { Knex } from 'knex';
import { readDatabaseTime } from '../dialect-time.ts';

/** Small transactions: a cluster sends each to all its nodes. */
const BATCH = 500;
const LEASE_KEPT_MS = 30 * 86_400_000;

/**
 * Removes a batch of what nobody will ask for: events older than `keepEventsMs`, commands for servers that left, leases that
 * nobody has held for a month. Returns how many rows; 0 when there is nothing left to do.
 */
export async function tidyShared(trx: Knex.Transaction, keepEventsMs: number): Promise<number> {
  const now = await readDatabaseTime(trx);
  const old = await trx('shared_events')
    .where('at', '<', now - keepEventsMs)
    .orderBy('at')
    .limit(BATCH)
    .select('origin', 'seq');
  let events = 0;
  for (const origin of new Set(old.map((row) => row.origin))) {
    const numbers = old.filter((row) => row.origin === origin).map(({ seq }) => seq);
    events += await trx('shared_events').where({ origin }).whereIn('seq', numbers).delete();
  }
  const left = trx('shared_servers').whereNot({ state: 'active' }).select('id');
  const orphaned = await trx('shared_commands').whereIn('receiver', left).limit(BATCH).pluck('id');
  const commands = orphaned.length === 0 ? 0 : await trx('shared_commands').whereIn('receiver', left).whereIn('id', orphaned).delete();
  // The number of a lease that is in use must not start anew, so only forgotten ones go.
  const leases = await trx('shared_leases')
    .where('expires_at', '>', 0)
    .where('expires_at', '<', now - LEASE_KEPT_MS)
    .delete();
  return events + commands + leases;
}
