import { AppError } from '../errors.ts';
import type { Digest } from '../ids.ts';
import { DELTA_LEVEL } from './encoder.ts';
import { type Chunk, decodeFrame, type FrameChunk, type FrameHeader, joinFrame } from './frame.ts';
import { MAX_BASE_BYTES } from './limits.ts';
import type { GetChunk } from './page-tree.ts';
import { release } from './release.ts';
import { compress } from './zstd.ts';

/*
 * A delta frame's payload is one zstd frame for a reader who has, before its first octet, the dictionary: eight zero
 * octets, then the base chunks in the order of the header. The zeros are there because zstd takes a dictionary that
 * begins with 37 A4 30 EC for one of its own making, with tables in it; a base chunk may begin so.
 */
const PREAMBLE = Buffer.alloc(8);
/** Base chunks asked for together: their frames are read and decoded on as many threads, and no more memory is held. */
const BASES_AT_ONCE = 4;

/** Where one dictionary at a time is put together: fresh memory for each would cost more in collections than decoding does. */
export function makeDictionaryRoom(): Buffer {
  return Buffer.allocUnsafeSlow(PREAMBLE.length + MAX_BASE_BYTES);
}

/** A chunk's bytes, good until they are given back (once). */
export type LentChunk = { readonly bytes: Buffer; giveBack(): void };
export type LendChunk = (digest: Digest) => Promise<LentChunk>;

/** For who keeps what he gives: nothing is to be given back. */
export function lending(get: GetChunk): LendChunk {
  return async (digest) => ({ bytes: await get(digest), giveBack: () => undefined });
}

/** The dictionary of these base chunks, which are asked for one by one. Throws `bad_data` once they are more than 4 MiB. */
async function gatherDictionary(bases: readonly Digest[], lendBase: LendChunk, room: Buffer): Promise<Buffer> {
  let bytes = PREAMBLE.copy(room);
  for (let at = 0; at < bases.length; at += BASES_AT_ONCE) {
    for (const { bytes: piece, giveBack } of await Promise.all(bases.slice(at, at + BASES_AT_ONCE).map(lendBase))) {
      if (bytes + piece.length > room.length) throw new AppError('bad_data', `a delta frame builds on more than ${MAX_BASE_BYTES} bytes`);
      bytes += piece.copy(room, bytes);
      giveBack();
    }
  }
  return room.subarray(0, bytes);
}

export type DeltaInput = {
  readonly chunks: readonly FrameChunk[];
  /** The chunks' bytes one after the other, at most 2 MiB; not to be changed until the frame is there. */
  readonly raw: Buffer;
  /** 1 to 1,024 base chunks, at most 4 MiB, that the receiver has. What lies last is reached most cheaply. */
  readonly bases: readonly Digest[];
};

/** One frame of these chunks, coded against base chunks; undefined when that saves nothing. The same input gives the same octets. */
export async function encodeDeltaFrame(
  { chunks, raw, bases }: DeltaInput,
  lendBase: LendChunk,
  room: Buffer = makeDictionaryRoom(),
): Promise<Buffer | undefined> {
  const dictionary = await gatherDictionary(bases, lendBase, room);
  const payload = await compress(raw, { level: DELTA_LEVEL, dictionary });
  const octets = payload.length > raw.length ? undefined : joinFrame({ encoding: 'zstd-base', chunks, bases, payload });
  // However short, it lies in a buffer as large as what it codes.
  release(payload);
  return octets;
}

/**
 * The chunks of any frame whose payload was checked, each hashed; `getBase` gives the receiver's own base chunks,
 * which need not be checked: with a wrong one the chunks come out wrong. Throws `bad_data`, and whatever `getBase` throws.
 */
export async function decodeAnyFrame(
  header: FrameHeader,
  payload: Buffer,
  getBase: GetChunk,
  room: Buffer = makeDictionaryRoom(),
): Promise<Chunk[]> {
  if (header.encoding !== 'zstd-base') return decodeFrame(header, payload);
  return decodeFrame(header, payload, await gatherDictionary(header.bases, lending(getBase), room));
}
