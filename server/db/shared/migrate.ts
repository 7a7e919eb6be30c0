import type { Knex } from 'knex';
import { SHARED_MIGRATIONS } from '../../../migrations/shared/index.ts';

const BOOK = 'shared_schema';

/** The schema changes that the shared database lacks, in order. Those of newer releases do not matter: they only add. */
export async function missingInShared(db: Knex): Promise<readonly string[]> {
  const known = SHARED_MIGRATIONS.map(({ name }) => name);
  if (!(await db.schema.hasTable(BOOK))) return known;
  const done: string[] = await db(BOOK).pluck('name');
  return known.filter((name) => !done.includes(name));
}

/**
 * Brings the shared database to this release's schema and returns the names of the changes made. Servers may do it at
 * the same time, and one that was killed at it is followed by the next: every step may be done twice. With nothing to
 * do it needs no right to change tables.
 */
export async function migrateShared(db: Knex): Promise<readonly string[]> {
  const missing = await missingInShared(db);
  if (missing.length === 0) return [];
  const options = (db.client as { dialect: string }).dialect === 'mysql' ? ' engine=InnoDB default character set utf8mb4' : '';
  await db.raw(`create table if not exists ${BOOK} (name varchar(128) not null, primary key (name))${options}`);
  for (const { name, up } of SHARED_MIGRATIONS.filter((one) => missing.includes(one.name))) {
    await up(db);
    await db(BOOK).insert({ name }).onConflict('name').ignore();
  }
  return missing;
}
