import type { Knex } from 'knex';
import { readDatabaseTime } from '../dialect-time.ts';

/** What `read` gives, with the database's time just before. */
export async function databaseTimeAnd<Result extends object>(db: Knex, read: () => Promise<Result>): Promise<Result & { now: number }> {
  const now = await readDatabaseTime(db);
  return { ...(await read()), now };
}
