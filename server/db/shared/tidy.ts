import type { Knex } from 'knex';
import { readDatabaseTime } from '../dialect-time.ts';

/** Small transactions: a cluster sends each to all its nodes. */
const BATCH = 500;
const LEASE_KEPT_MS = 30 * 86_400_000;

/**
 * Removes a batch of what nobody will ask for: events older than `keepEventsMs`, by the clock of the server that told them, commands for servers that left, leases that
 * nobody has held for a month. Returns how many rows; 0 when there is nothing left to do.
 */
export async function tidyShared(trx: Knex.Transaction, keepEventsMs: number): Promise<number> {
  const now = await readDatabaseTime(trx);
  const events = await dropEvents(trx, now, keepEventsMs);
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

async function dropEvents(trx: Knex.Transaction, now: number, keepMs: number): Promise<number> {
  const origins: string[] = await trx('shared_events')
    .where('at', '<', now - keepMs)
    .distinct('origin')
    .pluck('origin');
  const alive = new Set(await trx('shared_servers').where({ state: 'active' }).whereIn('id', origins).pluck('id'));
  let gone = 0;
  for (const origin of origins) {
    const rows = await trx('shared_events')
      .where({ origin })
      .orderBy('seq')
      .limit(BATCH - gone)
      .select('seq', 'at');
    // What is told just now is not old, whatever a clock that is years behind says; who left tells nothing any more.
    const newest = alive.has(origin) ? await trx('shared_events').where({ origin }).orderBy('seq', 'desc').first('at') : undefined;
    const before = Math.min(now, Number(newest?.at ?? now)) - keepMs;
    // From the beginning alone: one event that a clock which was wrong for a day has put into the past stays where it is.
    const first = rows.findIndex(({ at }) => Number(at) >= before);
    const numbers = (first === -1 ? rows : rows.slice(0, first)).map(({ seq }) => seq);
    if (numbers.length > 0) gone += await trx('shared_events').where({ origin }).whereIn('seq', numbers).delete();
    if (gone >= BATCH) return gone;
  }
  return gone;
}
