import type { Knex } from 'knex';
import type { Id } from '../../../core/ids.ts';
import { takeNumbers } from './counters.ts';
import { MOST_NUMBER } from './documents.ts';

/** What a server tells: events and states as it tells a parent, and the objects that it made. */
export type SharedStream = 'events' | 'states' | 'objects';

/** How far a stream is told, by its origin's numbers; `mark` is the number of this move among the moves of all streams. */
export type StreamMark = { readonly origin: Id; readonly stream: SharedStream; readonly seq: number; readonly mark: number };

const COUNTER = 'streams';

/** How far a stream is told, its row locked until the transaction ends; 0 for a new one. In a cluster the lock is this node's: it is `moveStream` that counts. */
export async function lockStream(trx: Knex.Transaction, origin: Id, stream: SharedStream): Promise<number> {
  const row = await trx('shared_marks').where({ origin, stream }).forUpdate().first('seq');
  if (row !== undefined) return Number(row.seq);
  await trx('shared_marks').insert({ origin, stream, seq: 0, mark: 0 }).onConflict(['origin', 'stream']).ignore();
  return Number((await trx('shared_marks').where({ origin, stream }).forUpdate().first('seq')).seq);
}

/**
 * Moves a stream on from number `from`; false when it is not there any more. Call it last: from here to the end of the
 * transaction no other stream moves, so whoever has seen mark n has seen all below it.
 */
export async function moveStream(trx: Knex.Transaction, { origin, stream, seq }: Omit<StreamMark, 'mark'>, from: number): Promise<boolean> {
  const mark = await takeNumbers(trx, COUNTER, 1);
  return (await trx('shared_marks').where({ origin, stream, seq: from }).update({ seq, mark })) === 1;
}

export async function getStream(db: Knex, origin: Id, stream: SharedStream): Promise<number> {
  return Number((await db('shared_marks').where({ origin, stream }).first('seq'))?.seq ?? 0);
}

/** The streams that moved after `mark`, in the order of their moves; also of a kind that only a later release has. With nothing new one index is looked at, whatever is stored. */
export async function listMoved(db: Knex, mark: number, limit: number): Promise<StreamMark[]> {
  const rows = await db('shared_marks').where('mark', '>', mark).where('mark', '<=', MOST_NUMBER).orderBy('mark').limit(limit);
  return rows.map((row) => ({ origin: row.origin, stream: row.stream, seq: Number(row.seq), mark: Number(row.mark) }));
}
