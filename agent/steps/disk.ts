import { constants, type FileHandle, open } from 'node:fs/promises';
import { AppError } from '../../core/errors.ts';

/** The disk under work. Offsets and lengths are octets. Every call rejects with `failed`, naming disk, place and cause. */
export type OpenDisk = {
  readonly name: string;
  readonly sizeBytes: number;
  read(offset: number, length: number): Promise<Buffer>;
  write(offset: number, bytes: Uint8Array): Promise<void>;
  /** Returns when the device says that everything written before is on it. */
  sync(): Promise<void>;
  close(): Promise<void>;
};

/** Opens a disk for writing. O_EXCL makes the kernel refuse a block device that is mounted or part of an array. */
export async function openDisk(path: string, disk: { name: string; sizeBytes: number }): Promise<OpenDisk> {
  const file = await open(path, constants.O_RDWR | constants.O_EXCL).catch((error: unknown) => {
    throw diskError(`open disk ${disk.name}`, error);
  });
  return {
    ...disk,
    read: (offset, length) => readFully(file, disk.name, offset, length),
    write: (offset, bytes) => writeFully(file, disk, offset, bytes),
    sync: () => file.sync().catch((error: unknown) => Promise.reject(diskError(`flush disk ${disk.name}`, error))),
    close: () => file.close(),
  };
}

async function readFully(file: FileHandle, name: string, offset: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  let done = 0;
  while (done < length) {
    const at = offset + done;
    const { bytesRead } = await file.read(buffer, done, length - done, at).catch((error: unknown) => {
      throw diskError(`read disk ${name} at byte ${at}`, error);
    });
    if (bytesRead === 0) throw new AppError('failed', `disk ${name} ends at byte ${at}, before it should`);
    done += bytesRead;
  }
  return buffer;
}

async function writeFully(file: FileHandle, disk: { name: string; sizeBytes: number }, offset: number, bytes: Uint8Array): Promise<void> {
  // A file would grow where a disk says no: the same answer for both.
  if (offset + bytes.length > disk.sizeBytes)
    throw new AppError('failed', `byte ${offset + bytes.length} lies behind the end of disk ${disk.name}`);
  let done = 0;
  while (done < bytes.length) {
    const at = offset + done;
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, at).catch((error: unknown) => {
      throw diskError(`write disk ${disk.name} at byte ${at}`, error);
    });
    done += bytesWritten;
  }
}

function diskError(what: string, error: unknown): AppError {
  const { code, message } = error as NodeJS.ErrnoException;
  return new AppError('failed', `cannot ${what}: ${code ?? message}`, { hint: 'the disk may be failing or in use', cause: error });
}
