import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Knex } from 'knex';
import { AppError } from '../core/errors.ts';
import { MIGRATIONS } from '../migrations/index.ts';
import { publishFile } from '../sync/content/durable.ts';
import type { Connection } from './datasource.ts';
import { type Copied, copyRows } from './db/copy-rows.ts';
import { listTables } from './db/dialect-sqlite.ts';
import { migrateDatabase, readSchemaState } from './db/migrate.ts';
import { connectTo } from './db/open.ts';
import { OWN_DATABASE } from './db/own.ts';

const STAGING = '.home';

/**
 * Brings the rows of a server of release 0.1, which lie in a MySQL database, into DIR/db.sqlite: copied into a file beside
 * it, compared table by table, then moved into its place. The database is only read. When it is killed the next call
 * begins anew. The caller holds DIR/lock.
 *
 * Errors: `config` (there are no rows of ours, or of several servers), `mismatch`, `version_mismatch`, `unreachable`.
 */
export async function bringRowsHome(dataDir: string, connection: Connection, serverId: string): Promise<readonly Copied[]> {
  const staging = join(dataDir, STAGING);
  await rm(staging, { recursive: true, force: true });
  const from = await connectTo(connection, dataDir);
  try {
    const { done, unknown } = await readSchemaState(from);
    if (unknown.length > 0) throw new AppError('version_mismatch', `the database was written by a newer release ("${unknown.at(-1)}")`);
    await requireOurs(from, done, serverId);
    return await copyInto(staging, { from, upTo: done.at(-1) ?? '', target: join(dataDir, OWN_DATABASE) });
  } finally {
    await from.destroy();
    await rm(staging, { recursive: true, force: true });
  }
}

async function requireOurs(from: Knex, done: readonly string[], serverId: string): Promise<void> {
  const selves: string[] = done.length === 0 ? [] : await from('servers').where({ relation: 'self' }).pluck('id');
  if (selves.length === 1 && selves[0] === serverId) return;
  if (!selves.includes(serverId)) {
    throw new AppError('config', `neither this directory nor the database that it names has the rows of this server (${serverId})`, {
      hint: `restore ${OWN_DATABASE} from a backup, or set "database:" to where the rows are and run waystation migrate`,
    });
  }
  throw new AppError('config', `the database holds the rows of ${selves.length} servers, which cannot be told apart`, {
    hint: 'give each of these servers a copy of the database of its own (mariadb-dump), delete the other rows "self" in its table servers, set "database:" to the copy and run waystation migrate',
  });
}

type Copy = { readonly from: Knex; readonly upTo: string; readonly target: string };

async function copyInto(staging: string, { from, upTo, target }: Copy): Promise<readonly Copied[]> {
  await mkdir(staging, { mode: 0o700 });
  const db = await connectTo({ kind: 'sqlite' }, staging);
  let copied: readonly Copied[];
  try {
    // Its schema is that of the rows first; what came later is done to the copy as to any database of that release.
    await migrateDatabase(db, upTo);
    copied = await copyRows(from, db, await listTables(db));
    if (upTo !== MIGRATIONS.at(-1)?.name) await migrateDatabase(db);
  } finally {
    await db.destroy();
  }
  if (existsSync(target)) throw new AppError('busy', `${target} appeared meanwhile`, { hint: 'look what made it' });
  await publishFile(join(staging, OWN_DATABASE), target);
  return copied;
}
