import { createHash } from 'node:crypto';
import { constants, createReadStream, createWriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import {
  ARCHIVE_HEADER_BYTES,
  type ArchiveHeader,
  type ArchiveIndex,
  parseArchiveHeader,
  parseArchiveIndex,
} from '../../core/archive-file.ts';
import { AppError } from '../../core/errors.ts';
import type { ArchivePart } from '../../core/sync-protocol.ts';

/** A part and where it lies in the file. */
export type PlacedPart = ArchivePart & { readonly offset: number };
export type OpenedArchive = ArchiveIndex & { readonly path: string; readonly sizeBytes: number; readonly parts: readonly PlacedPart[] };

/**
 * Reads an archive file's header and index; the parts are only measured. Nothing is believed yet.
 * Errors: `not_found`, `denied`; `bad_data` for what is no regular file, no archive, cut off or longer than it declares.
 */
export async function openArchiveFile(path: string): Promise<OpenedArchive> {
  const { header, octets, sizeBytes } = await readIndex(path);
  const index = parseArchiveIndex(octets, header);
  let offset = ARCHIVE_HEADER_BYTES + header.indexBytes;
  const parts = index.archive.parts.map((part) => {
    const placed = { ...part, offset };
    offset += part.sizeBytes;
    return placed;
  });
  return { ...index, path, sizeBytes, parts };
}

async function readIndex(path: string): Promise<{ header: ArchiveHeader; octets: Buffer; sizeBytes: number }> {
  // Without O_NONBLOCK the opening of a pipe would wait for a writer.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((error) => {
    throw cannotRead(path, error);
  });
  try {
    const found = await file.stat();
    if (!found.isFile()) throw badFile(path, 'is no regular file');
    const read = async (position: number, length: number) => {
      const octets = Buffer.alloc(length);
      const { bytesRead } = await file.read(octets, 0, length, position);
      if (bytesRead !== length) throw badFile(path, 'is cut off');
      return octets;
    };
    const header = parseArchiveHeader(await read(0, Math.min(ARCHIVE_HEADER_BYTES, found.size)));
    const declared = ARCHIVE_HEADER_BYTES + header.indexBytes + header.partsBytes;
    if (found.size !== declared)
      throw badFile(path, `has ${found.size} bytes and declares ${declared}: it is cut off, or something was appended`);
    return { header, octets: await read(ARCHIVE_HEADER_BYTES, header.indexBytes), sizeBytes: found.size };
  } finally {
    await file.close();
  }
}

/** Reads all parts and holds them against their names. Throws `bad_data` naming the first that is not what it should be. */
export async function checkParts({ path, parts }: OpenedArchive, onBytes: (bytes: number) => void): Promise<void> {
  for (const part of parts) {
    const sum = createHash('sha256');
    for await (const slice of readPart(path, part)) {
      sum.update(slice as Buffer);
      onBytes((slice as Buffer).length);
    }
    if (sum.digest('hex') !== part.name) throw badFile(path, `holds a part ${part.name} that is damaged`);
  }
}

/** Copies one part into a file of its own, in place of what is there. */
export async function extractPart({ path }: OpenedArchive, part: PlacedPart, target: string): Promise<void> {
  await pipeline(readPart(path, part), createWriteStream(target, { mode: 0o600 }));
}

function readPart(path: string, { offset, sizeBytes }: PlacedPart) {
  return createReadStream(path, { start: offset, end: offset + sizeBytes - 1, highWaterMark: 1_048_576 });
}

function badFile(path: string, what: string): AppError {
  return new AppError('bad_data', `the archive file ${path} ${what}`, { hint: 'copy it again, or make it again' });
}

function cannotRead(path: string, error: NodeJS.ErrnoException): AppError {
  const code = error.code === 'EACCES' ? 'denied' : 'not_found';
  return new AppError(code, `cannot read the archive file ${path}: ${error.code}`, { hint: 'check the path and its rights', cause: error });
}
