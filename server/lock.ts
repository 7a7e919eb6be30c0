import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { AppError } from '../core/errors.ts';
import { printable } from '../core/ids.ts';
import { isDiskFull } from './db/disk-full.ts';

export type Lock = { release(): void };

/**
 * Takes DIR/lock or says who has it. The lock is SQLite's exclusive lock on an empty database file: a POSIX
 * record lock, which ends with the process however it dies, is not inherited by children (a killed server's
 * rsync must not keep the directory), and is seen across namespaces. Who holds it stands in a second file,
 * because opening and closing the locked file in the holder would drop the lock (fcntl(2)).
 *
 * Errors: `directory_in_use` names process and directory; `config` when the directory cannot be written.
 */
export async function takeLock(dataDir: string): Promise<Lock> {
  const db = await lockFile(dataDir);
  try {
    await mkdir(join(dataDir, 'run'), { recursive: true, mode: 0o700 });
    await writeFile(join(dataDir, 'run', 'pid'), `${process.pid}\n`, { mode: 0o600 });
    return { release: () => db.close() };
  } catch (error) {
    db.close();
    throw explain(dataDir, error);
  }
}

async function lockFile(dataDir: string): Promise<DatabaseSync> {
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(join(dataDir, 'lock'), { timeout: 0 });
    db.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    return db;
  } catch (error) {
    db?.close();
    if (((error as { errcode?: number }).errcode ?? 0) !== SQLITE_BUSY) throw explain(dataDir, error);
    const pid = await holder(dataDir);
    const command = await commandOf(pid);
    throw new AppError('directory_in_use', `${dataDir} is in use by process ${pid}`, {
      hint: `${command === undefined ? 'stop that process' : `it is "waystation ${command}": wait for its end, or stop it`}, or name another directory with --data`,
      cause: error,
    });
  }
}

const SQLITE_BUSY = 5;

async function holder(dataDir: string): Promise<string> {
  try {
    return (await readFile(join(dataDir, 'run', 'pid'), 'utf8')).trim();
  } catch {
    // The holder has not written it yet, or we may not read it: the refusal stands without the number.
    return '(unknown)';
  }
}

/** What a process of ours was called with; undefined for others, and where that is not to be seen. */
async function commandOf(pid: string): Promise<string | undefined> {
  const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
  const main = words.findIndex((word) => word.endsWith('/cli/main.ts'));
  return main < 0
    ? undefined
    : printable(
        words
          .slice(main + 1)
          .join(' ')
          .trim(),
      );
}

function explain(dataDir: string, error: unknown): AppError {
  if (error instanceof AppError) return error;
  if (isDiskFull(error)) return new AppError('disk_full', `no space left for ${dataDir}/lock`, { hint: 'free space', cause: error });
  return new AppError('config', `cannot lock ${dataDir}: ${(error as Error).message}`, {
    hint: 'check that the directory exists (waystation init) and that this user owns it',
    cause: error,
  });
}
