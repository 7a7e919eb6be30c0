import { crc32 } from 'node:zlib';
import { BLOCK_BYTES, MAX_CHUNK_BYTES, MIN_CHUNK_BYTES } from './limits.ts';

/** A stretch of a buffer: data to store as one chunk, or zeros. Offsets count from the start of the buffer. */
export type Cut = { readonly kind: 'data' | 'zero'; readonly offset: number; readonly length: number };

/** One block in 13 ends a chunk; with the three blocks before the minimum that is 16 blocks, 64 KiB, on average. */
const CUT_ONE_IN = 13;

const ZEROS = Buffer.alloc(1024 * 1024);

/**
 * Cuts a stretch of a region where its content says so, at multiples of 4 KiB from the region's start.
 *
 * `buffer` must begin at such a multiple. Without `atEnd` the last, unfinished chunk (less than 256 KiB, and
 * less than a whole block) is not consumed: give it again, with more behind it. With `atEnd` all is
 * consumed and the last block may be short. Zero blocks never come out as data; a zero run may go on in
 * the next call's cuts. The same region gives the same chunks however it is split over calls.
 */
export function cutBlocks(buffer: Buffer, atEnd: boolean): { readonly cuts: readonly Cut[]; readonly consumed: number } {
  const cuts: Cut[] = [];
  const usable = atEnd ? buffer.length : buffer.length - (buffer.length % BLOCK_BYTES);
  let position = 0;
  while (position < usable) {
    const zero = zeroRun(buffer, position, usable);
    if (zero > 0) {
      cuts.push({ kind: 'zero', offset: position, length: zero });
      position += zero;
      continue;
    }
    const chunk = chunkLength(buffer, position, usable);
    if (!chunk.closed && !atEnd) break;
    cuts.push({ kind: 'data', offset: position, length: chunk.length });
    position += chunk.length;
  }
  return { cuts, consumed: position };
}

/** Octets of whole zero blocks from `start` on (the last may be short only at `end`). */
function zeroRun(buffer: Buffer, start: number, end: number): number {
  let position = start;
  while (position < end) {
    // The long stretches of an empty disk go by a megabyte at a time.
    const stride = end - position >= ZEROS.length ? ZEROS.length : Math.min(BLOCK_BYTES, end - position);
    if (isZero(buffer, position, stride)) position += stride;
    else if (stride > BLOCK_BYTES && isZero(buffer, position, BLOCK_BYTES)) position += BLOCK_BYTES;
    else break;
  }
  return position - start;
}

function isZero(buffer: Buffer, offset: number, length: number): boolean {
  return buffer[offset] === 0 && buffer.compare(ZEROS, 0, length, offset, offset + length) === 0;
}

function chunkLength(buffer: Buffer, start: number, end: number): { length: number; closed: boolean } {
  let position = start;
  while (position < end) {
    const length = Math.min(BLOCK_BYTES, end - position);
    if (isZero(buffer, position, length)) return { length: position - start, closed: true };
    position += length;
    const size = position - start;
    if (size >= MAX_CHUNK_BYTES) return { length: size, closed: true };
    if (size >= MIN_CHUNK_BYTES && crc32(buffer.subarray(position - length, position)) % CUT_ONE_IN === 0) {
      return { length: size, closed: true };
    }
  }
  return { length: position - start, closed: false };
}
