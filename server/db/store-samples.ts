import type { Knex } from 'knex';
import type { Sample } from '../../core/forecast.ts';
import type { Id } from '../../core/ids.ts';

/** Days that are remembered: a quarter and a bit says how a store grows. */
const KEPT = 100;

/** Writes down what the store holds; the last measurement of a day stays. */
export async function putStoreSample(db: Knex, origin: Id, { at, usedBytes }: Sample): Promise<void> {
  const day = new Date(at).toISOString().slice(0, 10);
  await db('store_samples').insert({ origin, day, at, used_bytes: usedBytes }).onConflict(['origin', 'day']).merge();
  const oldestToGo = await db('store_samples').where({ origin }).orderBy('day', 'desc').offset(KEPT).first('day');
  if (oldestToGo !== undefined) await db('store_samples').where({ origin }).where('day', '<=', oldestToGo.day).delete();
}

/** By day, oldest first. */
export async function listStoreSamples(db: Knex, origin: Id): Promise<readonly Sample[]> {
  const rows = await db('store_samples').where({ origin }).orderBy('day').select('at', 'used_bytes');
  return rows.map((row) => ({ at: Number(row.at), usedBytes: Number(row.used_bytes) }));
}
