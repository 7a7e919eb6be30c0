import type { Knex } from 'knex';

/** A table of ours, with the columns of its primary key in their order. */
export type Table = { readonly name: string; readonly key: readonly string[] };

/** Every table of a server's own database that migrations made, by name: what a backup holds, whatever the release. */
export async function listTables(db: Knex): Promise<readonly Table[]> {
  const rows: NameRow[] = await db.raw("select name from sqlite_master where type = 'table' order by name");
  // knex's own, and SQLite's.
  const names = rows.map(({ name }) => name).filter((name) => !/^(knex_|sqlite_)/.test(name));
  return Promise.all(names.map(async (name) => ({ name, key: await keyOf(db, name) })));
}

type NameRow = { readonly name: string };

async function keyOf(db: Knex, table: string): Promise<readonly string[]> {
  const rows: NameRow[] = await db.raw('select name from pragma_table_info(?) where pk > 0 order by pk', [table]);
  return rows.map(({ name }) => name);
}

type Row = Readonly<Record<string, unknown>>;

/** Rows of one answer; a row may weigh as much as an inventory. */
const PAGE_ROWS = 200;

/**
 * All rows of a table in the order of its key. In one transaction all tables are as they were at its first read, while others go
 * on writing: the write-ahead log keeps that moment for it.
 */
export async function* readRows(trx: Knex.Transaction, { name, key }: Table): AsyncGenerator<Row> {
  const columns = key.map(() => '??').join(', ');
  for (let last: Row | undefined; ; ) {
    const page = trx(name)
      .orderBy([...key])
      .limit(PAGE_ROWS);
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
