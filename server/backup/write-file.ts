import { createHash } from 'node:crypto';
import { type FileHandle, link, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { pipeline, Readable } from 'node:stream';
import { createZstdCompress } from 'node:zlib';
import { BACKUP_HEADER_BYTES, type BackupManifest, type BackupMember, backupHeader, encodeBackupEnd } from '../../core/backup-file.ts';
import { AppError } from '../../core/errors.ts';
import { syncDirectory, writeAll } from '../../sync/content/durable.ts';

/** A backup that is being written under a temporary name. */
export type BackupWriter = {
  /** Appends a member. `rows` is asked for when the source has ended. */
  add(name: string, source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>, options?: MemberOptions): Promise<void>;
  /** Ends the file, makes it durable and gives it its name. Returns its octets. Throws `name_taken` when the name was taken meanwhile. */
  finish(facts: Omit<BackupManifest, 'members'>): Promise<number>;
  /** Removes what was written. May be called at any time, and twice. */
  abort(): Promise<void>;
};

type MemberOptions = { readonly isCompressed?: boolean; readonly rows?: () => number };

/** Begins a backup that will be `path`, under the name `temporary` in the same directory, for its owner alone (0600). */
export async function createBackupFile(path: string, temporary: string): Promise<BackupWriter> {
  const file = await open(temporary, 'wx', 0o600);
  const members: BackupMember[] = [];
  let end = 0;
  let isClosed = false;
  const close = async () => {
    if (isClosed) return;
    isClosed = true;
    await file.close();
  };
  await append(file, [backupHeader()], 0);
  end = BACKUP_HEADER_BYTES;
  return {
    async add(name, source, { isCompressed = false, rows } = {}) {
      const { bytes, sha256 } = await append(file, isCompressed ? compressed(source) : source, end);
      const counted = rows === undefined ? {} : { rows: rows() };
      members.push({ name, encoding: isCompressed ? 'zstd' : 'none', offset: end, bytes, sha256, ...counted });
      end += bytes;
    },
    async finish(facts) {
      const tail = encodeBackupEnd({ ...facts, members }, end);
      await writeAll(file, tail, end);
      await file.sync();
      await close();
      await giveName(temporary, path);
      return end + tail.length;
    },
    async abort() {
      await close();
      await rm(temporary, { force: true });
    },
  };
}

async function append(
  file: FileHandle,
  source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  from: number,
): Promise<{ bytes: number; sha256: string }> {
  const sum = createHash('sha256');
  let at = from;
  for await (const slice of source) {
    await writeAll(file, slice, at);
    sum.update(slice);
    at += slice.length;
  }
  return { bytes: at - from, sha256: sum.digest('hex') };
}

function compressed(source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncIterable<Uint8Array> {
  // What fails is thrown to whoever reads the last stream; there is nothing else to tell.
  return pipeline(Readable.from(source), createZstdCompress(), () => undefined);
}

/** File systems without second names (FAT on a stick): then the name is looked for first. */
const NO_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

/** Unlike a rename, a second name never replaces a file that came meanwhile. */
async function giveName(temporary: string, path: string): Promise<void> {
  try {
    await link(temporary, path);
    await rm(temporary);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') throw nameTaken(path, error);
    if (!NO_LINKS.has(code ?? '')) throw error;
    await refuseExisting(path);
    await rename(temporary, path);
  }
  await syncDirectory(dirname(path));
}

/** Throws `name_taken` when there is something under that name: a backup is never overwritten. */
export async function refuseExisting(path: string): Promise<void> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (found !== undefined) throw nameTaken(path);
}

function nameTaken(path: string, cause?: unknown): AppError {
  return new AppError('name_taken', `${path} is there already: a backup is never overwritten`, {
    hint: 'name another file, or a directory in which it gets a name with the time',
    cause,
  });
}
