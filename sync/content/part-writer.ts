import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
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

/** SHA-256 of a file, 64 hex digits, read as a stream. */
export async function hashFileHex(path: string): Promise<string> {
  const sum = createHash('sha256');
  for await (const slice of createReadStream(path, { highWaterMark: 1024 * 1024 })) sum.update(slice as Buffer);
  return sum.digest('hex');
}
