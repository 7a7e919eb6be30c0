import { crc32 } from 'node:zlib';
import type { BaseMap } from '../../core/content/delta/base-map.ts';
import { createVotes, type FindCounterpart } from '../../core/content/delta/votes.ts';
import { encodeDeltaFrame, type LendChunk, makeDictionaryRoom } from '../../core/content/delta-frame.ts';
import { DELTA_LEVEL } from '../../core/content/encoder.ts';
import { encodePackedFrame } from '../../core/content/frame.ts';
import { BLOCK_BYTES, MAX_BASE_BYTES, MAX_FRAME_BASES } from '../../core/content/limits.ts';
import { release } from '../../core/content/release.ts';
import type { Digest } from '../../core/ids.ts';
import type { BasePages } from './base-images.ts';
import { type ChunkReader, undefinedWhenBad } from './chunk-reader.ts';
import type { EncodeChunks, PlacedChunk } from './frame-queue.ts';

/** Which base chunks to code these chunks against; the same answer for the same chunks. */
export type Elect = (chunks: readonly PlacedChunk[], raw: Buffer) => readonly Digest[] | Promise<readonly Digest[]>;

/** Each compression with a dictionary takes some 30 MiB. */
const AT_ONCE = 2;
/** A delta frame that is this many times smaller than its content needs no comparison with a plain one. */
const CLEARLY_SMALLER = 8;

/** Has the memory for dictionaries, whatever is coded with it. */
export type DeltaCoder = {
  /** Encodes frames against what `elect` chooses; the smaller of delta and plain wins. */
  encoder(elect: Elect): EncodeChunks;
  /** Gives the memory back, once nothing is encoded any more. */
  close(): void;
};

export function createDeltaCoder(lendBase: LendChunk): DeltaCoder {
  const rooms = createRooms(AT_ONCE);
  const encoder =
    (elect: Elect): EncodeChunks =>
    async (chunks, raw) => {
      const bases = await elect(chunks, raw);
      return rooms.lend(async (room) => {
        const delta =
          bases.length === 0 ? undefined : await encodeDeltaFrame({ chunks, raw, bases }, lendBase, room).catch(undefinedWhenBad);
        if (delta !== undefined && delta.length * CLEARLY_SMALLER < raw.length) return delta;
        const plain = await encodePackedFrame(chunks, raw, DELTA_LEVEL);
        const isDelta = delta !== undefined && delta.length < plain.length;
        if (delta !== undefined) release(isDelta ? plain : delta);
        return isDelta ? delta : plain;
      });
    };
  return { encoder, close: rooms.close };
}

/** Lends rooms for dictionaries, made when they are needed: who comes when all are lent waits for one. */
function createRooms(most: number) {
  const free: Buffer[] = [];
  const waiting: ((room: Buffer) => void)[] = [];
  let made = 0;
  const make = (): Buffer | undefined => {
    if (made === most) return undefined;
    made += 1;
    return makeDictionaryRoom();
  };
  const lend = async <Result>(work: (room: Buffer) => Promise<Result>): Promise<Result> => {
    const room = free.pop() ?? make() ?? (await new Promise<Buffer>((resolve) => waiting.push(resolve)));
    try {
      return await work(room);
    } finally {
      const next = waiting.shift();
      if (next) next(room);
      else free.push(room);
    }
  };
  return { lend, close: () => free.splice(0).forEach(release) };
}

/** Base chunks by votes of the blocks; see core/content/delta/votes.ts. */
export function electByVotes(base: BaseMap, counterpart?: FindCounterpart): Elect {
  const votes = createVotes(base, counterpart);
  return (chunks, raw) => {
    let start = 0;
    for (const { offset, length } of chunks) {
      for (let at = 0; at < length; at += BLOCK_BYTES) {
        votes.count(offset + at, crc32(raw.subarray(start + at, start + Math.min(length, at + BLOCK_BYTES))));
      }
      start += length;
    }
    return votes.elect();
  };
}

/** Base pages from the same stretch of the disk, as many as fit. */
export function electPages(pages: BasePages, get: ChunkReader): Elect {
  return async (chunks) => {
    const places = chunks.map(({ offset }) => offset);
    const [from, to] = [Math.min(...places), Math.max(...places)];
    const begin = pages.reduce((last, { offset }) => (offset <= from ? Math.max(last, offset) : last), 0);
    const elected = new Set<Digest>();
    let bytes = 0;
    for (const { digest, offset } of pages) {
      if (offset < begin || offset > to || elected.has(digest)) continue;
      bytes += (await get(digest)).length;
      if (bytes > MAX_BASE_BYTES || elected.size === MAX_FRAME_BASES) break;
      elected.add(digest);
    }
    return [...elected];
  };
}
