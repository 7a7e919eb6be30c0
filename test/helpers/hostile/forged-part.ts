import { hash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Chunk, chunkDigest, encodeFrame } from '../../../core/content/frame.ts';
import type { Digest } from '../../../core/ids.ts';
import { encodePartHeader, encodePartTrailer } from '../../../sync/content/part-format.ts';
import type { Lies } from './lying-parent.ts';

/** A plan of one part, and that part as a real daemon serves it: these octets, under their true name. */
export function servesPart(octets: Buffer): Lies {
  const name = hash('sha256', octets, 'hex');
  return {
    plan: (honest) => ({ ...honest, parts: [{ name, sizeBytes: octets.length, rawBytes: octets.length, frames: 1 }] }),
    parts: (directory) => writeFile(join(directory, name), octets),
  };
}

/** A part around these frames; `claims` changes what its header says of them. */
export function partOf(frames: readonly Buffer[], claims: { frames?: number; rawBytes?: number } = {}): Buffer {
  const zstd = process.versions['zstd'] ?? 'none';
  const rawBytes = frames.reduce((sum, frame) => sum + frame.readUInt32LE(16), 0);
  const header = { encoder: { format: 1, level: 3, zstd }, part: 0, frames: frames.length, rawBytes, ...claims };
  return Buffer.concat([encodePartHeader(header), ...frames, encodePartTrailer(header)]);
}

export const chunkOf = (bytes: Buffer): Chunk => ({ digest: chunkDigest(bytes), bytes });
export const frameOf = (bytes: Buffer): Promise<Buffer> => encodeFrame([chunkOf(bytes)]);

type Claims = {
  readonly encoding: number;
  readonly digest: Digest;
  readonly rawBytes: number;
  readonly payload: Buffer;
  readonly chunks?: number;
};

/** A frame that says what it is told, with all its sums right. */
export function forgedFrame({ encoding, digest, rawBytes, payload, chunks = 1 }: Claims): Buffer {
  const header = Buffer.alloc(64 + 36 + 32);
  header.write('WSF1', 'latin1');
  header[4] = 1;
  header[5] = encoding;
  header.writeUInt32LE(chunks, 8);
  header.writeUInt32LE(rawBytes, 16);
  header.writeUInt32LE(payload.length, 20);
  hash('sha256', payload, 'buffer').copy(header, 32);
  Buffer.from(digest.slice(7), 'hex').copy(header, 64);
  header.writeUInt32LE(rawBytes, 96);
  hash('sha256', header.subarray(0, 100), 'buffer').copy(header, 100);
  return Buffer.concat([header, payload]);
}
