import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import { MIGRATIONS, type Migration } from '../../migrations/index.ts';

/** The explicit list as knex wants it: nothing is looked for in the file system. */
function sourceOf(migrations: readonly Migration[]): Knex.MigrationSource<Migration> {
  return {
    getMigrations: async () => [...migrations],
    getMigrationName: (migration) => migration.name,
    getMigration: async (migration) => ({ up: migration.up, down: async () => undefined }),
  };
}

/** The name of the last schema change that this release knows. */
export const NEWEST_SCHEMA = MIGRATIONS.at(-1)?.name ?? '';

/** What the database has and lacks. `unknown` are names that only a newer release can have written. */
export type SchemaState = { readonly done: readonly string[]; readonly missing: readonly string[]; readonly unknown: readonly string[] };

export async function readSchemaState(db: Knex): Promise<SchemaState> {
  const known = MIGRATIONS.map((migration) => migration.name);
  const done: string[] = (await db.schema.hasTable('knex_migrations')) ? await db('knex_migrations').orderBy('id').pluck('name') : [];
  return {
    done,
    missing: known.filter((name) => !done.includes(name)),
    unknown: done.filter((name) => !known.includes(name)),
  };
}

/** Throws `config` when migrations are missing and `version_mismatch` when a newer release wrote the schema. */
export async function requireCurrentSchema(db: Knex): Promise<void> {
  const state = await readSchemaState(db);
  refuseNewer(state);
  if (state.missing.length > 0) {
    throw new AppError('config', `the database lacks ${state.missing.length} schema change(s), first "${state.missing[0]}"`, {
      hint: 'run waystation migrate',
    });
  }
}

/**
 * Brings the schema up to this release and returns the names of the changes made, none when there was
 * nothing to do. `upTo` names the last one that is wanted. The caller holds DIR/lock, so a lock row in an SQLite file was left by a process that died.
 */
export async function migrateDatabase(db: Knex, upTo: string = NEWEST_SCHEMA): Promise<readonly string[]> {
  const migrationSource = sourceOf(MIGRATIONS.slice(0, MIGRATIONS.findIndex(({ name }) => name === upTo) + 1));
  const state = await readSchemaState(db);
  refuseNewer(state);
  if (state.missing.length === 0) return [];
  if (isMysql(db)) await useBinaryCollation(db);
  else if (await db.schema.hasTable('knex_migrations_lock')) await db.migrate.forceFreeMigrationsLock({ migrationSource });
  try {
    const [, names] = (await db.migrate.latest({ migrationSource })) as [number, string[]];
    return names;
  } catch (error) {
    if ((error as Error).name !== 'MigrationLocked') throw error;
    throw new AppError('busy', 'another server is changing the schema of this database', {
      hint: 'wait for it; if none runs, empty the table knex_migrations_lock',
      cause: error,
    });
  }
}

function refuseNewer(state: SchemaState): void {
  if (state.unknown.length === 0) return;
  throw new AppError('version_mismatch', `the database was written by a newer release (schema "${state.unknown.at(-1)}")`, {
    hint: 'install that release of waystation or a later one',
  });
}

/** Names and digests compare octet by octet, as they do on SQLite. */
async function useBinaryCollation(db: Knex): Promise<void> {
  await db.raw('alter database character set utf8mb4 collate utf8mb4_bin');
}

function isMysql(db: Knex): boolean {
  return (db.client as { dialect: string }).dialect === 'mysql';
}
