import { createHash } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Encoder } from '../../core/content/encoder.ts';
import { PART_BYTES } from '../../core/content/limits.ts';
import type { ArchivePart } from '../../core/sync-protocol.ts';
import { writeAll } from './durable.ts';
import type { FrameSummary } from './frame-queue.ts';
import { encodePartHeader, encodePartTrailer, PART_HEADER_BYTES, PART_TRAILER_BYTES } from './part-format.ts';

/** Writes frames into parts of at most 64 MiB in one directory. */
export type PartWriter = {
  append(octets: Buffer, summary: FrameSummary): Promise<void>;
  /** Ends the last part. All parts, in order. */
  finish(): Promise<readonly ArchivePart[]>;
  /** Closes what is open; the directory is the caller's to remove. */
  abort(): Promise<void>;
};

type OpenPart = { readonly file: FileHandle; readonly path: string; bytes: number; frames: number; rawBytes: number };

export function createPartWriter(directory: string, encoder: Encoder): PartWriter {
  const parts: ArchivePart[] = [];
  let part: OpenPart | undefined;

  async function end(): Promise<void> {
    if (part === undefined) return;
    const { file, path, frames, rawBytes } = part;
    const header = { encoder, part: parts.length, frames, rawBytes };
    const trailer = encodePartTrailer(header);
    await writeAll(file, trailer, part.bytes);
    // The header tells the counts, so it is written last into the place kept for it.
    await writeAll(file, encodePartHeader(header), 0);
    await file.sync();
    await file.close();
    const sizeBytes = part.bytes + trailer.length;
    part = undefined;
    const name = await hashFileHex(path);
    await rename(path, join(directory, name));
    parts.push({ name, sizeBytes, rawBytes, frames });
  }

  return {
    async append(octets, { rawBytes }) {
      if (part !== undefined && part.bytes + octets.length + PART_TRAILER_BYTES > PART_BYTES) await end();
      part ??= await beginPart(directory, parts.length);
      await writeAll(part.file, octets, part.bytes);
      part.bytes += octets.length;
      part.frames += 1;
      part.rawBytes += rawBytes;
    },
    async finish() {
      await end();
      return parts;
    },
    async abort() {
      // `end` may have closed it before it failed; then there is nothing left to close.
      await part?.file.close().catch(() => undefined);
      part = undefined;
    },
  };
}

async function beginPart(directory: string, number: number): Promise<OpenPart> {
  const path = join(directory, `.part-${number}.tmp`);
  await rm(path, { force: true });
  return { file: await open(path, 'wx', 0o600), path, bytes: PART_HEADER_BYTES, frames: 0, rawBytes: 0 };
}

const HASHED_BYTES = 256 * 1024;

/** SHA-256 of a file, 64 hex digits. Read into one buffer: a stream would leave the collector as much as the file is long. */
export async function hashFileHex(path: string): Promise<string> {
  const sum = createHash('sha256');
  const slice = Buffer.allocUnsafeSlow(HASHED_BYTES);
  const file = await open(path, 'r');
  try {
    for (;;) {
      const { bytesRead } = await file.read(slice, 0, slice.length);
      if (bytesRead === 0) return sum.digest('hex');
      sum.update(slice.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}
