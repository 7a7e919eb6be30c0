import { chmod, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../core/errors.ts';
import { syncDirectory } from '../../sync/content/durable.ts';
import { findServerId, RESTORE_STAGING, SERVER_ID_FILE } from '../server-id.ts';
import { writeSecretFile } from '../trust/key-files.ts';

/**
 * How a directory becomes a restored server: all is built in DIR/.restore and moved into place, the server's id last. A process that
 * is killed before leaves DIR/.restore there: nothing starts on such a directory, and the next restore begins anew.
 */

/** What may stand in a directory into which is restored. */
const HARMLESS = new Set(['lost+found', 'datasources.d', 'lock', 'run', RESTORE_STAGING]);
/** What an interrupted restore may have moved into place already. */
const MOVED = new Set(['keys', 'store', 'log', 'waystation.yaml', 'db.sqlite', 'db.sqlite-wal', 'db.sqlite-shm']);

/** Throws `name_taken` and `config` for a directory that is no place for a restore. To be asked before anything is made there, and again under its lock. */
export async function refuseOccupied(dataDir: string): Promise<void> {
  if ((await findServerId(dataDir)) !== undefined) {
    throw new AppError('name_taken', `there is a server in ${dataDir} already: a restore never replaces one`, {
      hint: 'name an empty or new directory with --data',
    });
  }
  const names = await listed(dataDir);
  const isGoneOnWith = names.includes(RESTORE_STAGING);
  const foreign = names.find((name) => !HARMLESS.has(name) && !(isGoneOnWith && MOVED.has(name)));
  if (foreign !== undefined)
    throw new AppError('config', `${dataDir} is not empty (it holds "${foreign}")`, { hint: 'name an empty or new directory with --data' });
}

/** Makes the directory if need be, for its owner alone; gives the topmost one that was made. Throws `config`. */
export async function makeForRestore(dataDir: string): Promise<string | undefined> {
  try {
    const created = await mkdir(dataDir, { recursive: true, mode: 0o700 });
    await chmod(dataDir, 0o700);
    return created;
  } catch (cause) {
    throw new AppError('config', `cannot make ${dataDir}: ${(cause as NodeJS.ErrnoException).code}`, {
      hint: 'run as a user that may, or name another directory with --data',
      cause,
    });
  }
}

/** An empty DIR/.restore, and nothing else of an earlier restore. */
export async function beginStaging(dataDir: string): Promise<string> {
  const staging = join(dataDir, RESTORE_STAGING);
  // The mark first: what is taken away below may be taken away again.
  await mkdir(staging, { recursive: true, mode: 0o700 });
  for (const name of await readdir(dataDir)) if (MOVED.has(name)) await rm(join(dataDir, name), { recursive: true });
  for (const name of await readdir(staging)) await rm(join(staging, name), { recursive: true });
  return staging;
}

/** Makes the directory a server. What the operator put there (data sources) stays as it is. */
export async function publishStaging(dataDir: string, serverId: string): Promise<void> {
  const staging = join(dataDir, RESTORE_STAGING);
  for (const name of await readdir(staging)) if (MOVED.has(name)) await rename(join(staging, name), join(dataDir, name));
  await moveSources(join(staging, 'datasources.d'), join(dataDir, 'datasources.d'));
  await syncDirectory(dataDir);
  await writeSecretFile(join(dataDir, SERVER_ID_FILE), `${serverId}\n`);
  await rm(staging, { recursive: true });
}

async function moveSources(from: string, to: string): Promise<void> {
  const names = await listed(from);
  if (names.length === 0) return;
  await mkdir(to, { recursive: true, mode: 0o755 });
  const there = await readdir(to);
  for (const name of names) if (!there.includes(name)) await rename(join(from, name), join(to, name));
}

/** Takes away what a restore that failed has made. The caller holds the lock of the directory: else it is another one's work. */
export async function removeStaging(dataDir: string, created: string | undefined): Promise<void> {
  if (created !== undefined) return rm(created, { recursive: true, force: true });
  for (const name of await listed(dataDir)) if (MOVED.has(name)) await rm(join(dataDir, name), { recursive: true, force: true });
  await rm(join(dataDir, RESTORE_STAGING), { recursive: true, force: true });
}

/** The names in a directory; none when it is not there. */
export async function listed(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw error;
  }
}
