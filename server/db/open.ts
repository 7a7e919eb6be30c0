import { statfsSync } from 'node:fs';
import knexPackage, { type Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import type { Config } from '../config.ts';
import { type Connection, resolveDatabase } from '../datasource.ts';
import { type MysqlConnection, mysqlSettings } from './dialect-mysql.ts';
import { SharedClient, sharedSettings } from './dialect-shared.ts';
import { NodeSqliteClient } from './dialect-sqlite.ts';
import { isDiskFull } from './disk-full.ts';
import { requireCurrentSchema } from './migrate.ts';

/**
 * Opens the database that the configuration names and checks that its schema is this program's.
 * The caller destroys the returned handle. `env` gives the password and the place of the data sources. On SQLite there is one connection: inside a transaction
 * work only with the transaction, or the call waits for itself.
 *
 * Errors: `config` (not migrated: run `waystation migrate`; sign-in refused), `version_mismatch` (newer schema),
 * `unreachable`, `unknown_data_source`, `unreadable_secret`.
 */
export async function openDatabase(config: Pick<Config, 'database'>, dataDir: string, env: NodeJS.ProcessEnv = process.env): Promise<Knex> {
  const db = await connectDatabase(config, dataDir, env);
  try {
    await requireCurrentSchema(db);
    return db;
  } catch (error) {
    await db.destroy();
    throw error;
  }
}

/** The database as it is, whatever its schema: for `init`, `migrate` and `doctor`. It was reached once. */
export async function connectDatabase(
  config: Pick<Config, 'database'>,
  dataDir: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<Knex> {
  return connectTo(await resolveDatabase(config.database, { dataDir, env }), dataDir);
}

/** As `connectDatabase`, for settings that are resolved already. */
export async function connectTo(connection: Connection, dataDir: string): Promise<Knex> {
  const settings = connection.kind === 'sqlite' ? sqliteSettings(`${dataDir}/db.sqlite`) : mysqlSettings(connection);
  // A failed statement's words reach logs: they show placeholders, never what stood in their place (nonces, hashes).
  const db = knexPackage({ ...settings, log: QUIET, compileSqlOnError: false });
  try {
    await db.raw('select 1');
    return db;
  } catch (error) {
    await db.destroy();
    throw explainConnectFailure(error, connection, dataDir);
  }
}

/** A handle on the database where servers meet. Nothing is connected before the first statement; the caller destroys it. */
export function openSharedDatabase(connection: MysqlConnection): Knex {
  return knexPackage({ ...sharedSettings(connection), log: QUIET, compileSqlOnError: false });
}

/** The address of ours from which that database was reached last. */
export function localAddressOf(db: Knex): string | undefined {
  return db.client instanceof SharedClient ? db.client.localAddress : undefined;
}

function sqliteSettings(filename: string): Knex.Config {
  return {
    client: NodeSqliteClient,
    connection: { filename },
    useNullAsDefault: true,
    pool: { min: 1, max: 1 },
    acquireConnectionTimeout: 30_000,
  };
}

/** Knex would print on the console what it also throws. */
const QUIET = { warn: ignore, error: ignore, debug: ignore, deprecate: ignore };
function ignore(): void {}

function explainConnectFailure(error: unknown, connection: Connection, dataDir: string): AppError {
  if (error instanceof AppError) return error;
  if (connection.kind === 'sqlite') return explainSqliteFailure(error, dataDir);
  const { code } = error as { code?: string };
  const where = `database "${connection.name}" at ${connection.hosts.join(', ')}`;
  if (code?.startsWith('ER_')) {
    return new AppError('config', `${where} refused user "${connection.user}": ${code}`, {
      hint: 'check user, password file, database name and grants',
      cause: error,
    });
  }
  return new AppError('unreachable', `cannot reach ${where}: ${code ?? (error as Error).message}`, {
    hint: 'check that the database runs and that the host, port and CA are right',
    cause: error,
  });
}

function explainSqliteFailure(error: unknown, dataDir: string): AppError {
  const file = `${dataDir}/db.sqlite`;
  if (isDiskFull(error) || (isIoError(error) && hasNoRoom(dataDir)))
    return new AppError('disk_full', `no space left for ${file}`, { hint: 'free space and try again', cause: error });
  return new AppError('config', `cannot open ${file}: ${(error as Error).message}`, {
    hint: 'check the rights of the data directory and that the file is a database',
    cause: error,
  });
}

/** SQLITE_IOERR: what SQLite says when its shared memory file cannot grow on a full file system. */
function isIoError(error: unknown): boolean {
  return ((error as { errcode?: number }).errcode ?? 0) % 256 === 10;
}

function hasNoRoom(dataDir: string): boolean {
  const { bavail, bsize } = statfsSync(dataDir);
  return bavail * bsize < 65_536;
}

/** Whether a statement failed because a row with that key is there. */
export function isUniqueViolation(error: unknown): boolean {
  const { errcode, code } = error as { errcode?: number; code?: string };
  return errcode === 2067 || errcode === 1555 || code === 'ER_DUP_ENTRY';
}

/** Whether the whole transaction may simply be run again: deadlock, lock wait, certification failure, busy file. */
function isRetryable(error: unknown): boolean {
  const { errcode, code } = error as { errcode?: number; code?: string };
  return (
    code === 'ER_LOCK_DEADLOCK' ||
    code === 'ER_LOCK_WAIT_TIMEOUT' ||
    code === 'ER_CHECKREAD' ||
    (errcode !== undefined && (errcode & 0xff) === 5)
  );
}

/** Runs `work` in the caller's transaction when `db` is one, else in one of its own. */
export function joinTransaction<Result>(db: Knex, work: (trx: Knex) => Promise<Result>): Promise<Result> {
  return db.isTransaction ? work(db) : inTransaction(db, work);
}

/** Runs `work` in one transaction, again (at most five times) when the database asks for that: so `work` has no effects but its statements. */
export async function inTransaction<Result>(db: Knex, work: (trx: Knex.Transaction) => Promise<Result>): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await db.transaction(work);
    } catch (error) {
      if (attempt >= 5 || !isRetryable(error)) throw error;
    }
  }
}
