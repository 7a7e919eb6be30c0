import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import { listKey } from './dialect-sqlite.ts';

const BATCH = 500;
/** SQLite takes so many values in one statement. */
const MOST_VALUES = 30_000;

export type Copied = { readonly table: string; readonly rows: number };

/**
 * Copies all rows of these tables from any database of ours into those of an SQLite file, in one transaction there, and
 * compares the counts. Returns them. Columns go by their names. Errors: `mismatch`.
 */
export async function copyRows(from: Knex, into: Knex, tables: readonly string[]): Promise<Copied[]> {
  const copied: Copied[] = [];
  await into.transaction(async (trx) => {
    for (const table of tables) {
      // A schema change may have put in rows of its own.
      await trx(table).delete();
      const rows = await copyTable(from, trx, table);
      const [there, here] = [await countRows(from, table), await countRows(trx, table)];
      if (there !== rows || here !== rows)
        throw new AppError('mismatch', `table ${table} has ${there} rows, of which ${here} arrived`, {
          hint: 'stop whatever else writes there and try again',
        });
      copied.push({ table, rows });
    }
  });
  return copied;
}

async function copyTable(from: Knex, into: Knex, table: string): Promise<number> {
  const key = await listKey(into, table);
  for (let done = 0; ; ) {
    const rows: object[] = await from(table).orderBy(key).offset(done).limit(BATCH);
    const width = Object.keys(rows[0] ?? {}).length || 1;
    const step = Math.max(1, Math.min(BATCH, Math.floor(MOST_VALUES / width)));
    for (let n = 0; n < rows.length; n += step) await into(table).insert(rows.slice(n, n + step));
    done += rows.length;
    if (rows.length < BATCH) return done;
  }
}

export async function countRows(db: Knex, table: string): Promise<number> {
  const found = await db(table).count({ count: '*' }).first();
  return Number(found?.['count'] ?? 0);
}
