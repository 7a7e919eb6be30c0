import type { Knex } from 'knex';
import { appendEvent, insertEvents, newestEvent } from '../db/events.ts';
import { inTransaction } from '../db/open.ts';
import { getSetting, setSetting } from '../db/settings.ts';
import { RESTORED } from '../images/lost-versions.ts';
import type { Site } from '../site.ts';

/** More events than a server has in the time between two backups; a parent that speaks of more is not believed. */
const MOST_LOST = 200_000;
const ROWS_AT_ONCE = 500;

/**
 * After a restore of this server: who is told our events has some that we forgot, and what happened here since bears their
 * numbers. Before anything is told, what happened since moves behind them, and each forgotten number gets an event that says so: numbers
 * have no gaps. Once; `told` is how far our events are known there.
 */
export async function alignEvents(site: Site, told: number): Promise<void> {
  const text = await getSetting(site.db, RESTORED);
  const restored = text === undefined ? {} : (JSON.parse(text) as { events?: number });
  const { events: base } = restored;
  if (base === undefined) return;
  const lost = Math.max(0, told - base);
  if (lost > MOST_LOST) {
    site.log.error('the parent speaks of more events of ours than there can be', { told, known: base });
    return;
  }
  await inTransaction(site.db, async (trx) => {
    if (lost > 0) await moveBehind(site, trx, { base, told });
    const { events: _done, ...rest } = restored;
    await setSetting(trx, RESTORED, JSON.stringify(rest));
  });
  if (lost > 0) site.log.warn('events that were told before this server was restored are lost here', { lost });
}

async function moveBehind(site: Site, trx: Knex.Transaction, { base, told }: { base: number; told: number }): Promise<void> {
  const origin = site.self.id;
  // From the last one on: no number is taken twice on the way.
  for (let seq = await newestEvent(trx, origin); seq > base; seq -= 1)
    await trx('events')
      .where({ origin, seq })
      .update({ seq: seq + told - base });
  const at = site.now();
  for (let first = base + 1; first <= told; first += ROWS_AT_ONCE) {
    const numbers = Array.from({ length: Math.min(ROWS_AT_ONCE, told - first + 1) }, (_, n) => first + n);
    await insertEvents(
      trx,
      numbers.map((seq) => ({ origin, seq, at, actor: 'restore', kind: 'event.lost', subject: origin, data: {} })),
    );
  }
  await appendEvent(trx, { origin, at, actor: 'restore', kind: 'events.lost', subject: origin, data: { from: base + 1, to: told } });
}
