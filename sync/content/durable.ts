import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { AppError } from '../../core/errors.ts';

/*
 * How every file here is written: a temporary file in the same directory, fsync, rename, fsync of the
 * directory. Until the rename nobody sees it; after the last fsync no power cut takes it back.
 */

/** A name beside `path` that openStore removes when it is left over. */
export function temporaryBeside(path: string): string {
  return join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`);
}

/** For a path that a person gave: a device would be replaced by a file, not written. Throws `usage`. */
export function refuseOtherThanFile(path: string): void {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined || found.isFile()) return;
  throw new AppError('usage', `${path} is ${found.isDirectory() ? 'a directory' : 'a device'}, not a file`, {
    hint: 'name a file; to a device write that file afterwards, with dd',
  });
}

/** Writes all of `octets` at `position`: a single write may be short when the disk fills up. */
export async function writeAll(file: FileHandle, octets: Uint8Array, position: number): Promise<void> {
  let done = 0;
  while (done < octets.length) {
    const { bytesWritten } = await file.write(octets, done, octets.length - done, position + done);
    done += bytesWritten;
  }
}

/** Gives a synced temporary file its name, and makes the name durable. */
export async function publishFile(temporary: string, path: string): Promise<void> {
  await rename(temporary, path);
  await syncDirectory(dirname(path));
}

export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** Writes a small file whole. */
export async function writeFileDurably(path: string, octets: Uint8Array): Promise<void> {
  const temporary = temporaryBeside(path);
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await writeAll(file, octets, 0);
      await file.sync();
    } finally {
      await file.close();
    }
    await publishFile(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

const FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);
const SQLITE_FULL = 13;

/** A failure of the file system or the index in the operator's words; an AppError stays as it is. */
export function asStoreError(error: unknown, doing: string): AppError {
  if (error instanceof AppError) return error;
  const { code, errcode, message } = error as { code?: string; errcode?: number; message: string };
  if ((code !== undefined && FULL.has(code)) || errcode === SQLITE_FULL) {
    return new AppError('disk_full', `${doing}: no space left on the file system`, {
      hint: 'make room (waystation store gc, or a larger disk) and repeat the command; nothing half-written was left',
      cause: error,
    });
  }
  if (code === 'ENOENT') return new AppError('not_found', `${doing}: ${message}`, { cause: error });
  if (code === 'EACCES' || code === 'EPERM') {
    return new AppError('denied', `${doing}: ${message}`, { hint: 'run it as a user who may read and write there', cause: error });
  }
  if (code === 'ERR_SQLITE_ERROR' && isDamaged(errcode)) return indexDamaged(`${doing}: ${message}`, error);
  return new AppError('failed', `${doing}: ${message}`, { cause: error });
}

/** SQLITE_CORRUPT (11) and SQLITE_NOTADB (26), with their extended forms. */
function isDamaged(errcode: number | undefined): boolean {
  return errcode !== undefined && ((errcode & 0xff) === 11 || (errcode & 0xff) === 26);
}

/** `corrupt`: the index is damaged; the packs hold everything needed to make it again. */
function indexDamaged(message: string, cause?: unknown): AppError {
  return new AppError('corrupt', `the index of the content store is damaged (${message})`, {
    hint: 'run waystation store check --repair: it makes the index again from the packs',
    cause,
  });
}
