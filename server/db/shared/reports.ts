import type { Knex } from 'knex';
import type { Json } from '../../../core/canonical-json.ts';
import type { Id } from '../../../core/ids.ts';
import type { StoredEvent } from '../events.ts';
import type { Mark, Stream } from '../reported.ts';
import { newestNumber, takeNumbers } from './counters.ts';

/** The newest state of one thing of one server, under the number that this server gave to the change. `body` null: it is gone there. */
export type SharedReport = {
  readonly origin: Id;
  readonly kind: string;
  readonly subject: string;
  readonly seq: number;
  readonly body: Json;
  readonly at: number;
};

/** How far a stream is told, its row locked until the transaction ends; 0 for a new one. */
export async function lockSharedMark(trx: Knex.Transaction, origin: Id, stream: Stream): Promise<number> {
  await trx('shared_marks').insert({ origin, stream, seq: 0 }).onConflict(['origin', 'stream']).ignore();
  const row = await trx('shared_marks').where({ origin, stream }).forUpdate().first('seq');
  return Number(row.seq);
}

/** Returns false when the mark is no longer at `from`. */
export async function moveSharedMark(trx: Knex.Transaction, { origin, stream, seq }: Mark, from: number): Promise<boolean> {
  return (await trx('shared_marks').where({ origin, stream, seq: from }).update({ seq })) === 1;
}

export async function getSharedMark(db: Knex, origin: Id, stream: Stream): Promise<number> {
  const row = await db('shared_marks').where({ origin, stream }).first('seq');
  return Number(row?.seq ?? 0);
}

/** Stores the newest state of things, each in place of the one before; one that is there under this or a later number stays. */
export async function putSharedReports(trx: Knex.Transaction, reports: readonly SharedReport[]): Promise<void> {
  if (reports.length === 0) return;
  let mark = await takeNumbers(trx, 'reports', reports.length);
  for (const { origin, kind, subject, seq, body, at } of reports) {
    const key = { origin, kind, subject };
    const row = { seq, body: body === null ? null : JSON.stringify(body), at, mark: mark++ };
    const changed = await trx('shared_reports').where(key).where('seq', '<', seq).update(row);
    if (changed === 0)
      await trx('shared_reports')
        .insert({ ...key, ...row })
        .onConflict(['origin', 'kind', 'subject'])
        .ignore();
  }
}

/** Stores events as they are; one that is there stays. */
export async function putSharedEvents(trx: Knex.Transaction, events: readonly StoredEvent[]): Promise<void> {
  if (events.length === 0) return;
  let mark = await takeNumbers(trx, 'events', events.length);
  const rows = events.map(({ data, ...event }) => ({ ...event, data: JSON.stringify(data), mark: mark++ }));
  for (let n = 0; n < rows.length; n += 100)
    await trx('shared_events')
      .insert(rows.slice(n, n + 100))
      .onConflict(['origin', 'seq'])
      .ignore();
}

/** The newest mark of reports, or of events: whether there is news, in one row. */
export function newestReportMark(db: Knex, what: 'reports' | 'events'): Promise<number> {
  return newestNumber(db, what);
}

/** Reports of these origins marked above `after`, in the order of their marks. */
export async function listSharedReports(db: Knex, origins: readonly Id[], page: Page): Promise<(SharedReport & { mark: number })[]> {
  const rows = await select(db, 'shared_reports', origins, page);
  return rows.map(({ origin, kind, subject, seq, body, at, mark }) => ({
    ...{ origin, kind, subject },
    seq: Number(seq),
    body: body === null ? null : JSON.parse(body),
    at: Number(at),
    mark: Number(mark),
  }));
}

/** Events of these origins marked above `after`, in the order of their marks. */
export async function listSharedEvents(db: Knex, origins: readonly Id[], page: Page): Promise<(StoredEvent & { mark: number })[]> {
  const rows = await select(db, 'shared_events', origins, page);
  return rows.map(({ origin, seq, at, actor, kind, subject, data, mark }) => ({
    ...{ origin, actor, kind, subject },
    seq: Number(seq),
    at: Number(at),
    data: JSON.parse(data),
    mark: Number(mark),
  }));
}

/** What of one origin is kept there. */
export async function countShared(db: Knex, table: 'shared_reports' | 'shared_events', origin: Id): Promise<number> {
  const found = await db(table).where({ origin }).count({ count: 'seq' }).first();
  return Number(found?.['count'] ?? 0);
}

type Page = { readonly after: number; readonly limit: number };

function select(db: Knex, table: string, origins: readonly Id[], { after, limit }: Page) {
  return db(table)
    .whereIn('origin', [...origins])
    .where('mark', '>', after)
    .orderBy('mark')
    .limit(limit);
}
