import type { Knex } from 'knex';
import type { Json } from '../../core/canonical-json.ts';
import type { Id } from '../../core/ids.ts';

/** A thing of a server below us, as that server told it last. `body` null: it is gone there. `at` is when it came. */
export type Reported = {
  readonly origin: Id;
  readonly kind: string;
  readonly subject: Id;
  readonly seq: number;
  readonly body: Json;
  readonly at: number;
};

export type Stream = 'events' | 'states';
export type Mark = { readonly origin: Id; readonly stream: Stream; readonly seq: number };

/** How far a stream is stored here, its row locked until the transaction ends; 0 for a new one. */
export async function lockMark(trx: Knex, origin: Id, stream: Stream): Promise<number> {
  await trx('report_marks').insert({ origin, stream, seq: 0 }).onConflict(['origin', 'stream']).ignore();
  const row = await trx('report_marks').where({ origin, stream }).forUpdate().first('seq');
  return Number(row.seq);
}

/** How far a stream is stored here; 0 for an unknown one, of which nothing is written down. */
export async function getMarkOf(db: Knex, origin: Id, stream: Stream): Promise<number> {
  const row = await db('report_marks').where({ origin, stream }).first('seq');
  return Number(row?.seq ?? 0);
}

/** Returns false when the mark is no longer at `from`. */
export async function moveMark(trx: Knex, { origin, stream, seq }: Mark, from: number): Promise<boolean> {
  return (await trx('report_marks').where({ origin, stream, seq: from }).update({ seq })) === 1;
}

export async function listMarks(db: Knex): Promise<Mark[]> {
  const rows = await db('report_marks').orderBy(['origin', 'stream']);
  return rows.map(({ origin, stream, seq }) => ({ origin, stream, seq: Number(seq) }));
}

/** As `listMarks`, of these origins alone. */
export async function listMarksOf(db: Knex, origins: readonly Id[]): Promise<Mark[]> {
  const rows = await db('report_marks').whereIn('origin', [...origins]);
  return rows.map(({ origin, stream, seq }) => ({ origin, stream, seq: Number(seq) }));
}

/** Of how many servers reports are kept. */
export async function countMarkedOrigins(db: Knex): Promise<number> {
  return Number((await db('report_marks').countDistinct({ count: 'origin' }).first())?.['count'] ?? 0);
}

/** Stores the newest state of a thing in place of the one before; true when there was none. */
export async function putReported(trx: Knex, { origin, kind, subject, seq, body, at }: Reported): Promise<boolean> {
  const row = { seq, body: body === null ? null : JSON.stringify(body), at, target_id: kind === 'order' ? targetOf(body) : null };
  const changed = await trx('reported').where({ origin, kind, subject }).update(row);
  if (changed === 0) await trx('reported').insert({ origin, kind, subject, ...row });
  return changed === 0;
}

/** Of which target an order is, unchecked: whoever reads it looks once more. */
function targetOf(body: Json): string | null {
  const targetId = (body as { targetId?: Json } | null)?.targetId;
  return typeof targetId === 'string' && targetId.length <= 36 ? targetId : null;
}

/** How many things of a server are kept here, the gone ones included. */
export async function countReported(db: Knex, origin: Id): Promise<number> {
  const found = await db('reported').where({ origin }).count({ count: 'subject' }).first();
  return Number(found?.['count'] ?? 0);
}

/** Everything that goes by this id, whoever told it. */
export async function findReported(db: Knex, kind: string, subject: string): Promise<Reported[]> {
  return (await db('reported').where({ kind, subject }).whereNotNull('body')).map(fromRow);
}

export async function getReported(db: Knex, key: { origin: Id; kind: string; subject: string }): Promise<Reported | undefined> {
  const row = await db('reported').where(key).whereNotNull('body').first();
  return row && fromRow(row);
}

/** Things of one kind that are there, by id: upwards after `after`, or downwards before `before`. */
export async function listReported(
  db: Knex,
  kind: string,
  page: {
    readonly after?: string | undefined;
    readonly before?: string | undefined;
    readonly newestFirst?: boolean;
    /** Orders of this target alone. */
    readonly targetId?: string | undefined;
    readonly limit: number;
  },
): Promise<Reported[]> {
  const rows = db('reported').where({ kind }).whereNotNull('body');
  if (page.targetId !== undefined) rows.where({ target_id: page.targetId });
  if (page.after !== undefined) rows.where('subject', '>', page.after);
  if (page.before !== undefined) rows.where('subject', '<', page.before);
  return (await rows.orderBy('subject', page.newestFirst ? 'desc' : 'asc').limit(page.limit)).map(fromRow);
}

/** Which state of a thing is stored: its body is worth reading only when the number has changed. */
export type ReportedMark = Pick<Reported, 'origin' | 'seq' | 'at'>;

/** What servers told of themselves, without the documents. */
export async function listServerMarks(db: Knex): Promise<ReportedMark[]> {
  const rows = await db('reported')
    .where({ kind: 'server' })
    .whereNotNull('body')
    .where('origin', db.ref('subject'))
    .select('origin', 'seq', 'at');
  return rows.map(({ origin, seq, at }) => ({ origin, seq: Number(seq), at: Number(at) }));
}

/** Reports of servers are documents of up to 64 KiB: so many are read and parsed in one go, and others get their turn. */
const REPORTS_AT_ONCE = 20;

/** What these servers told of themselves, some at a time. */
export async function* readServerReports(db: Knex, origins: readonly Id[]): AsyncGenerator<Reported> {
  for (let start = 0; start < origins.length; start += REPORTS_AT_ONCE) {
    const rows = await db('reported')
      .where({ kind: 'server' })
      .whereIn('origin', origins.slice(start, start + REPORTS_AT_ONCE))
      .whereNotNull('body')
      .where('origin', db.ref('subject'));
    for (const row of rows) yield fromRow(row);
  }
}

/** What of an origin changed after number `after`, gone things included, in the order of the numbers: to be passed on. */
export async function listReportedAfter(db: Knex, origin: Id, after: number, limit: number): Promise<Reported[]> {
  const rows = await db('reported').where({ origin }).where('seq', '>', after).orderBy('seq').limit(limit);
  return rows.map(fromRow);
}

/** Makes a reported target, or a server that reported (`subject` itself), found by these words and no others. */
export async function replaceWords(trx: Knex, origin: Id, subject: string, words: readonly string[]): Promise<void> {
  await trx('reported_words').where({ origin, subject }).delete();
  const rows = [...new Set(words)].map((word) => ({ origin, subject, word }));
  if (rows.length > 0) await trx('reported_words').insert(rows);
}

/** Targets of servers below us that are found by this id, name, UUID or MAC address. */
export async function findReportedTargets(db: Knex, word: string): Promise<Reported[]> {
  const found = await db('reported_words').where({ word }).whereNot('origin', db.ref('subject')).select('origin', 'subject').limit(10);
  const rows = await Promise.all(found.map((key) => getReported(db, { ...key, kind: 'target' })));
  return [...rows, ...(await findReported(db, 'target', word))].filter((row) => row !== undefined);
}

/** Servers below us that call themselves so, or have this id; two of a name are enough to know that it is ambiguous. */
export async function findReportedServers(db: Knex, reference: string): Promise<Id[]> {
  const named = await db('reported_words').where({ word: reference }).where('origin', db.ref('subject')).orderBy('origin').limit(2);
  const own = await getReported(db, { origin: reference as Id, kind: 'server', subject: reference });
  return own === undefined ? named.map(({ origin }) => origin) : [own.origin];
}

function fromRow(row: { origin: Id; kind: string; subject: Id; seq: number | string; body: string | null; at: number | string }): Reported {
  const { origin, kind, subject } = row;
  return { origin, kind, subject, seq: Number(row.seq), body: row.body === null ? null : JSON.parse(row.body), at: Number(row.at) };
}
