import type { Knex } from 'knex';
import { type ReportBatch, ReportedEvent, ReportedState } from '../../../core/control-protocol.ts';
import type { Id } from '../../../core/ids.ts';
import { boundedText, MOST_NUMBER, readDocumentText } from './documents.ts';

type Items<Stream extends ReportBatch['stream']> = Extract<ReportBatch, { stream: Stream }>['items'];

/** Rows of one statement: far below every limit of packets and of variables. */
const AT_ONCE = 100;

/** Stores the newest state of things, each in place of the one before. */
export async function putSharedStates(trx: Knex.Transaction, origin: Id, items: Items<'states'>, at: number): Promise<void> {
  const rows = items.map(({ body, ...item }) => ({ origin, ...item, body: body === null ? null : JSON.stringify(body), at }));
  for (const some of chunks(rows)) await trx('shared_reports').insert(some).onConflict(['origin', 'kind', 'subject']).merge();
}

/** Stores events as they are; one that is there stays. */
export async function putSharedEvents(trx: Knex.Transaction, origin: Id, items: Items<'events'>): Promise<void> {
  const rows = items.map(({ data, ...item }) => ({ origin, ...item, data: JSON.stringify(data) }));
  for (const some of chunks(rows)) await trx('shared_events').insert(some).onConflict(['origin', 'seq']).ignore();
}

/** Makes targets found by these words and no others. */
export async function putSharedWords(trx: Knex.Transaction, origin: Id, words: ReadonlyMap<string, readonly string[]>): Promise<void> {
  for (const subjects of chunks([...words.keys()])) await trx('shared_words').where({ origin }).whereIn('subject', subjects).delete();
  const rows = [...words].flatMap(([subject, all]) => [...new Set(all)].map((word) => ({ word, origin, subject })));
  // Some databases take two words for one that differ in spaces at their end.
  for (const some of chunks(rows)) await trx('shared_words').insert(some).onConflict(['word', 'origin', 'subject']).ignore();
}

/** Events of an origin after number `after`, in their order; those that cannot be read are left out. */
export async function listSharedEvents(db: Knex, origin: Id, page: Page): Promise<Items<'events'>> {
  const rows: Record<string, string | number | null>[] = await pageOf(db('shared_events').where({ origin }), page).select(
    ...['seq', 'at', 'actor', 'kind', 'subject', boundedText(db, 'data')],
  );
  return rows.flatMap(({ data, ...row }) => {
    const event = { ...row, seq: Number(row['seq']), at: Number(row['at']), data: readDocumentText(data as string | null) };
    return ReportedEvent.safeParse(event).data ?? [];
  });
}

/** The newest states of an origin's things that changed after number `after`, in the order of the changes; those that cannot be read are left out. */
export async function listSharedStates(db: Knex, origin: Id, page: Page): Promise<Items<'states'>> {
  const rows: Record<string, string | number | null>[] = await pageOf(db('shared_reports').where({ origin }), page).select(
    ...['seq', 'kind', 'subject', db.raw('case when body is null then 1 else 0 end as gone'), boundedText(db, 'body')],
  );
  return rows.flatMap(({ seq, kind, subject, gone, body }) => {
    const state = { seq: Number(seq), kind, subject, body: Number(gone) === 1 ? null : readDocumentText(body as string | null) };
    return ReportedState.safeParse(state).data ?? [];
  });
}

function pageOf(rows: Knex.QueryBuilder, { after, limit }: Page): Knex.QueryBuilder {
  return rows.where('seq', '>', after).where('seq', '<=', MOST_NUMBER).orderBy('seq').limit(limit);
}

/** The servers that have a target of this id, name, UUID or MAC address. */
export async function findTargetOrigins(db: Knex, words: readonly string[]): Promise<Id[]> {
  const byWord = await db('shared_words')
    .whereIn('word', [...words])
    .limit(10)
    .pluck('origin');
  const byId = await db('shared_reports')
    .where({ kind: 'target' })
    .whereIn('subject', [...words])
    .limit(10)
    .pluck('origin');
  return [...new Set([...byWord, ...byId])] as Id[];
}

/** What of one origin is kept there. */
export async function countShared(db: Knex, table: 'shared_reports' | 'shared_events' | 'shared_objects', origin: Id): Promise<number> {
  const found = await db(table).where({ origin }).count({ count: 'seq' }).first();
  return Number(found?.['count'] ?? 0);
}

export type Page = { readonly after: number; readonly limit: number };

export function chunks<Row>(rows: readonly Row[], size = AT_ONCE): Row[][] {
  return Array.from({ length: Math.ceil(rows.length / size) }, (_, n) => rows.slice(n * size, (n + 1) * size));
}
