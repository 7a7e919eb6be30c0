import { AppError, describeError } from '../core/errors.ts';
import type { Id } from '../core/ids.ts';
import { loadConfig } from './config.ts';
import { type Connection, resolveDatabase } from './datasource.ts';
import type { Copied } from './db/copy-rows.ts';
import { migrateDatabase } from './db/migrate.ts';
import { connectTo } from './db/open.ts';
import { hasRowsElsewhere } from './db/own.ts';
import { takeLock } from './lock.ts';
import { bringRowsHome } from './rows-home.ts';
import { readServerId } from './server-id.ts';
import { openShared } from './shared/open.ts';

export type Migrated = {
  /** Schema changes made, in this server's own database and then in the shared one. */
  readonly applied: readonly string[];
  /** The tables that came home from where release 0.1 kept them. */
  readonly copied: readonly Copied[];
  /** That the shared database is away, in words; the server works without it and looks after it later. */
  readonly note: string | null;
};

/**
 * Brings a data directory's database, and then the shared one if it is reached, up to this release, under its lock. Throws what the
 * shared one refuses (`config`, `denied`); the own one is done by then.
 */
export async function migrateSite({ dataDir, env }: { dataDir: string; env: NodeJS.ProcessEnv }): Promise<Migrated> {
  const serverId = await readServerId(dataDir);
  const lock = await takeLock(dataDir);
  try {
    const { database } = await loadConfig({ dataDir, env });
    return await migrateUnderLock(dataDir, await resolveDatabase(database, { dataDir, env }), serverId);
  } finally {
    lock.release();
  }
}

async function migrateUnderLock(dataDir: string, connection: Connection, serverId: Id): Promise<Migrated> {
  const copied = hasRowsElsewhere(dataDir, connection) ? await bringRowsHome(dataDir, connection, serverId) : [];
  const db = await connectTo({ kind: 'sqlite' }, dataDir);
  try {
    const applied = await migrateDatabase(db);
    if (connection.kind !== 'mysql') return { applied, copied, note: null };
    const shared = await migrateShared(connection);
    return { applied: [...applied, ...shared.applied], copied, note: shared.note };
  } finally {
    await db.destroy();
  }
}

async function migrateShared(connection: Connection & { kind: 'mysql' }): Promise<Pick<Migrated, 'applied' | 'note'>> {
  const shared = openShared(connection, Date.now);
  try {
    return { applied: await shared.prepare(), note: null };
  } catch (error) {
    const { code, message, hint } = describeError(error);
    const words = `the shared database was left as it is: ${message}`;
    // It is away: the server works without it and looks after it when it is back. Everything else waits for an operator.
    if (code === 'unreachable') return { applied: [], note: words };
    throw new AppError(code, `this server's own database is of this release now; ${words}`, {
      ...(hint === undefined ? {} : { hint }),
      cause: error,
    });
  } finally {
    await shared.close();
  }
}
