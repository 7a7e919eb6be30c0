import { type FileHandle, open } from 'node:fs/promises';
import { AppError } from '../../core/errors.ts';

/** A part that somebody still writes, from its beginning to its end. */
export type Growing = {
  /** How long it will be. */
  readonly sizeBytes: number;
  /** Aborts when there is nothing to wait for any more. */
  readonly signal: AbortSignal;
  /** Resolves when the whole file is known to be right. */
  readonly confirmed: Promise<void>;
};

/** Where a part is read from. `read` gives exactly `length` octets, at most `readBytes`, or fails; they are good until it is asked again. */
export type PartSource = {
  readonly size: number;
  /** Octets that are best asked for at once. */
  readonly readBytes: number;
  read(offset: number, length: number): Promise<Buffer>;
  /** Whether `read` up to there would not wait. */
  isThere(end: number): Promise<boolean>;
  close(): Promise<void>;
};

const MIB = 1_048_576;
/** Smaller than a frame: little is left to do when the last octet comes. */
const GROWING_READ_BYTES = MIB / 4;
/** rsync tells nobody when it has written. A look costs some microseconds. */
const LOOK_MS = 20;

export async function openWhole(path: string): Promise<PartSource> {
  const file = await open(path, 'r');
  const { size } = await file.stat();
  return {
    size,
    readBytes: MIB,
    read: readInto(Buffer.allocUnsafeSlow(MIB), file, path),
    isThere: async () => true,
    close: () => file.close(),
  };
}

/**
 * A file that rsync appends to, from the moment it is there. `read` waits for what is not written yet; it fails with
 * `unreachable` when `signal` aborts, and when the file was removed or is longer than it should become: it is another one then.
 */
export async function openGrowing(path: string, { sizeBytes, signal }: Growing): Promise<PartSource> {
  const file = await openWhenThere(path, signal);
  const readExactly = readInto(Buffer.allocUnsafeSlow(GROWING_READ_BYTES), file, path);
  const isReached = async (end: number) => {
    const { size, nlink } = await file.stat();
    if (nlink === 0 || size > sizeBytes) throw stopped(path);
    return size >= end;
  };
  return {
    size: sizeBytes,
    readBytes: GROWING_READ_BYTES,
    read: async (offset, length) => {
      while (!(await isReached(offset + length))) await waitFor(path, signal);
      return readExactly(offset, length);
    },
    isThere: isReached,
    close: () => file.close(),
  };
}

async function openWhenThere(path: string, signal: AbortSignal): Promise<FileHandle> {
  for (;;) {
    const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error;
      return undefined;
    });
    if (file !== undefined) return file;
    await waitFor(path, signal);
  }
}

/** Resolves when the part is known to be right. Throws as `read` does when that is not to come. */
export function confirmation(path: string, { confirmed, signal }: Growing): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(stopped(path));
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop);
    confirmed.then(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    });
  });
}

function waitFor(path: string, signal: AbortSignal): Promise<void> {
  if (signal.aborted) throw stopped(path);
  return new Promise((resolve) => setTimeout(resolve, LOOK_MS));
}

/** One buffer for all that is read of a part: a new one each time would leave the collector as much as the part is long. */
function readInto(room: Buffer, file: FileHandle, path: string): PartSource['read'] {
  return async (offset, length) => {
    const { bytesRead } = await file.read(room, 0, length, offset);
    if (bytesRead === length) return room.subarray(0, length);
    throw new AppError('bad_data', `the archive part ${path} was cut off while it was read`, { hint: 'remove it and fetch it again' });
  };
}

function stopped(path: string): AppError {
  return new AppError('unreachable', `the archive part ${path} stopped growing`, { hint: 'it is unpacked when it is whole' });
}
