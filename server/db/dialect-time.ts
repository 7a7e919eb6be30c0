import type { Knex } from 'knex';

/** The database's clock, epoch milliseconds, as an expression for a statement: where servers meet, no clock of theirs counts. */
export function databaseTime(db: Knex): Knex.Raw {
  const isMysql = (db.client as { dialect: string }).dialect === 'mysql';
  return db.raw(
    isMysql
      ? "timestampdiff(microsecond, '1970-01-01 00:00:00', utc_timestamp(3)) div 1000"
      : "cast(unixepoch('subsec') * 1000 as integer)",
  );
}

/** What the database's clock says now. */
export async function readDatabaseTime(db: Knex): Promise<number> {
  const [row] = (await db.select(db.raw('(?) as now', [databaseTime(db)]))) as { now: number | string }[];
  return Number(row?.now);
}
