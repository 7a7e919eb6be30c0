import { join } from 'node:path';
import { AppError } from '../core/errors.ts';
import type { Id, Name } from '../core/ids.ts';
import { openContentStore } from '../sync/content/open.ts';
import { removeLeftovers } from './backup/leftovers.ts';
import { type Config, type ConfigFlags, loadConfig } from './config.ts';
import { dataDirectory } from './data-directory.ts';
import { resolveDatabase } from './datasource.ts';
import { onLongTurn } from './db/dialect-sqlite.ts';
import { openOwnDatabase } from './db/own.ts';
import { takeLock } from './lock.ts';
import { closeLog, createLog } from './log.ts';
import { readServerId } from './server-id.ts';
import { openShared } from './shared/open.ts';
import type { Site } from './site.ts';
import { openKeys } from './trust/keys.ts';
import { Wake } from './wake.ts';

export type OpenSiteOptions = {
  readonly dataDir: string;
  readonly flags?: ConfigFlags;
  readonly env?: NodeJS.ProcessEnv;
  readonly now?: () => number;
  /** `serve` logs to its standard output as well; commands only to the files. */
  readonly logToStdout?: boolean;
};

/**
 * Opens a data directory for work: the lock, then configuration, log, database, keys and store. `close()` gives
 * everything back in reverse; so does a failure half way.
 *
 * Errors: `not_found` (not initialised), `directory_in_use`, `config`, `unreadable_secret`, and those of `openOwnDatabase`. The shared database is not
 * reached for: it may be away.
 */
export async function openSite(options: OpenSiteOptions): Promise<Site> {
  const now = options.now ?? Date.now;
  const dataDir = dataDirectory(options.dataDir);
  const opened: (() => Promise<void> | void)[] = [];
  const close = closeOnce(opened);
  try {
    const serverId = await readServerId(dataDir);
    const lock = await takeLock(dataDir);
    opened.push(() => lock.release());
    const config = await readConfig(options);
    const log = createLog({ dataDir, level: config.logLevel, toStdout: options.logToStdout ?? false });
    opened.push(() => closeLog(log));
    for (const path of await removeLeftovers(dataDir)) log.info('backup that was cut off removed', { path });
    const connection = await resolveDatabase(config.database, { dataDir, env: options.env ?? process.env });
    const db = await openOwnDatabase(dataDir, connection);
    opened.push(() => db.destroy());
    onLongTurn(db, (turn) => log.warn('one turn at the database keeps all others waiting', turn));
    const shared = connection.kind === 'mysql' ? openShared(connection, now, serverId) : undefined;
    if (shared !== undefined) opened.push(() => shared.close());
    const keys = await openKeys(dataDir, serverId);
    const self = await readSelf(db, serverId);
    const store = await openContentStore(join(dataDir, 'store'), { cacheBytes: config.archiveCacheBytes });
    opened.push(() => store.close());
    return { dataDir, config, self, db, shared, store, keys, log, wake: new Wake(), now, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function readConfig({ dataDir, env, flags }: OpenSiteOptions): Promise<Config> {
  return loadConfig({ dataDir, ...(env === undefined ? {} : { env }), ...(flags === undefined ? {} : { flags }) });
}

async function readSelf(db: Site['db'], serverId: Id): Promise<{ id: Id; name: Name }> {
  const row = await db('servers').where({ id: serverId, relation: 'self' }).first('name');
  if (row === undefined) {
    throw new AppError('config', `the database does not know this server (${serverId})`, {
      hint: 'restore the directory from a backup: db.sqlite is of another server',
    });
  }
  return { id: serverId, name: row.name };
}

/** Undoes in reverse order, once; a failure does not keep the rest from being given back. */
function closeOnce(opened: (() => Promise<void> | void)[]): () => Promise<void> {
  let closing: Promise<void> | undefined;
  const run = async (): Promise<void> => {
    const failures: unknown[] = [];
    for (const undo of opened.splice(0).reverse()) {
      try {
        await undo();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  };
  return () => (closing ??= run());
}
