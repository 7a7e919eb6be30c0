import { createHash } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline, Readable } from 'node:stream';
import { createZstdDecompress } from 'node:zlib';
import {
  BACKUP_HEADER_BYTES,
  BACKUP_TRAILER_BYTES,
  type BackupManifest,
  type BackupMember,
  badBackup,
  checkBackupHeader,
  parseBackupManifest,
  parseBackupTrailer,
} from '../../core/backup-file.ts';
import { AppError } from '../../core/errors.ts';

export type OpenedBackup = BackupManifest & { readonly path: string; readonly sizeBytes: number };

/**
 * Reads what a backup says of itself; its members are only measured. Errors: `not_found`, `denied`; `bad_data` for what is no
 * regular file, no backup, cut off or longer than it says; `version_mismatch` for a format of a later release.
 */
export async function openBackup(path: string): Promise<OpenedBackup> {
  // Without O_NONBLOCK the opening of a pipe would wait for a writer.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error) => {
    throw cannotRead(path, error);
  });
  try {
    const found = await file.stat();
    if (!found.isFile()) throw badBackup('it is no regular file');
    const read = async (position: number, length: number) => {
      const octets = Buffer.alloc(length);
      const { bytesRead } = await file.read(octets, 0, length, position);
      return octets.subarray(0, bytesRead);
    };
    checkBackupHeader(await read(0, BACKUP_HEADER_BYTES));
    const last = await read(Math.max(0, found.size - BACKUP_TRAILER_BYTES), BACKUP_TRAILER_BYTES);
    const trailer = parseBackupTrailer(last, found.size);
    const manifest = parseBackupManifest(await read(trailer.offset, trailer.bytes), trailer);
    return { ...manifest, path, sizeBytes: found.size };
  } finally {
    await file.close();
  }
}

/** A member's octets as they lie in the file. At its end they are held against their hash: `bad_data` naming the member. */
export async function* readMember({ path }: OpenedBackup, member: BackupMember): AsyncGenerator<Buffer> {
  if (member.bytes > 0) {
    const sum = createHash('sha256');
    let bytes = 0;
    for await (const slice of createReadStream(path, {
      start: member.offset,
      end: member.offset + member.bytes - 1,
      highWaterMark: 1_048_576,
    })) {
      sum.update(slice as Buffer);
      bytes += (slice as Buffer).length;
      yield slice as Buffer;
    }
    if (bytes === member.bytes && sum.digest('hex') === member.sha256) return;
  } else if (createHash('sha256').digest('hex') === member.sha256) return;
  throw badBackup(`${member.name} in it is damaged`);
}

/** The same, decompressed where it is compressed. What is half read was believed too early: read it all before it counts. */
export function decodeMember(opened: OpenedBackup, member: BackupMember): AsyncIterable<Buffer> {
  if (member.encoding === 'none') return readMember(opened, member);
  // What fails is thrown to whoever reads the last stream; there is nothing else to tell.
  return pipeline(Readable.from(readMember(opened, member)), createZstdDecompress(), () => undefined);
}

/** Reads everything and holds it against its hashes. Throws `bad_data` naming the first member that is not what it should be. */
export async function verifyMembers(opened: OpenedBackup, onBytes: (bytes: number) => void): Promise<void> {
  for (const member of opened.members) for await (const slice of readMember(opened, member)) onBytes(slice.length);
}

function cannotRead(path: string, error: NodeJS.ErrnoException): AppError {
  const code = error.code === 'EACCES' ? 'denied' : 'not_found';
  return new AppError(code, `cannot read the backup ${path}: ${error.code}`, { hint: 'check the path and its rights', cause: error });
}
