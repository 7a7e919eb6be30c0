import type { Knex } from 'knex';
import { listKey } from './dialect-sqlite.ts';

type Row = Readonly<Record<string, unknown>>;

/** Rows of one answer; a row may weigh as much as an inventory. */
const PAGE_ROWS = 200;

/**
 * All rows of a table in the order of its key. In one transaction all tables are as they were at its first read, while others go
 * on writing: the write-ahead log keeps that moment for it.
 */
export async function* readRows(trx: Knex.Transaction, table: string): AsyncGenerator<Row> {
  const key = await listKey(trx, table);
  const columns = key.map(() => '??').join(', ');
  for (let last: Row | undefined; ; ) {
    const page = trx(table).orderBy(key).limit(PAGE_ROWS);
    if (last !== undefined) page.whereRaw(`(${columns}) > (${key.map(() => '?').join(', ')})`, [...key, ...valuesOf(last, key)]);
    const rows = (await page) as Row[];
    yield* rows;
    last = rows.at(-1);
    if (rows.length < PAGE_ROWS) return;
  }
}

function valuesOf(row: Row, key: readonly string[]): Knex.RawBinding[] {
  return key.map((column) => row[column] as Knex.RawBinding);
}
