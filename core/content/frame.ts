import { hash } from 'node:crypto';
import { AppError } from '../errors.ts';
import { type Digest, digestBytes, digestFromBytes } from '../ids.ts';
import { PLAIN_ENCODER } from './encoder.ts';
import { MAX_CHUNK_BYTES, MAX_FRAME_BASES, MAX_FRAME_CHUNKS, MAX_FRAME_RAW_BYTES } from './limits.ts';
import { release } from './release.ts';
import { compress, decompress } from './zstd.ts';

/*
 * A frame is the unit of storage, transfer and resume: about a megabyte of neighbouring chunks. The same
 * octets lie in packs, in archives and in the agent's answers. All numbers are little-endian.
 *
 *    0   4  magic `WSF1`
 *    4   1  version 1
 *    5   1  encoding: 0 raw, 1 zstd, 2 zstd with a dictionary of base chunks (delta-frame.ts)
 *    6   2  zero
 *    8   4  number of chunks (1..1024)
 *   12   4  number of base chunks (1..1024 with encoding 2, else 0)
 *   16   4  raw octets, the sum of the chunks' lengths
 *   20   4  payload octets
 *   24   8  zero
 *   32  32  SHA-256 of the payload
 *   64      chunks: digest 32, length 4; then base chunks: digest 32
 *    …  32  SHA-256 of everything before it
 *    …      payload
 *
 * So each bit is covered: the header by its own sum, the payload by the one in the header, and every
 * chunk, once decoded, by its digest.
 */
const MAGIC = 0x31465357;
const VERSION = 1;
export const FRAME_PREFIX_BYTES = 64;
const CHUNK_ENTRY_BYTES = 36;
const DIGEST_BYTES = 32;
const MAX_FRAME_HEADER_BYTES = FRAME_PREFIX_BYTES + MAX_FRAME_CHUNKS * CHUNK_ENTRY_BYTES + MAX_FRAME_BASES * DIGEST_BYTES + DIGEST_BYTES;
export const MAX_FRAME_BYTES = MAX_FRAME_HEADER_BYTES + MAX_FRAME_RAW_BYTES;
/** `WSF1`, to look for the next frame behind a damaged one. */
export const FRAME_MAGIC = Buffer.from('WSF1');

const FRAME_ENCODINGS = ['raw', 'zstd', 'zstd-base'] as const;
export type FrameEncoding = (typeof FRAME_ENCODINGS)[number];

export type FrameChunk = { readonly digest: Digest; readonly length: number };
export type Chunk = { readonly digest: Digest; readonly bytes: Buffer };

export type FrameHeader = {
  readonly encoding: FrameEncoding;
  readonly rawBytes: number;
  readonly payloadBytes: number;
  readonly headerBytes: number;
  readonly chunks: readonly FrameChunk[];
  readonly bases: readonly Digest[];
  readonly payloadDigest: Buffer;
};

/** The header's length, from its first 64 octets. Throws `bad_data` when they cannot begin a frame of ours. */
export function frameHeaderBytes(prefix: Buffer): number {
  if (prefix.readUInt32LE(0) !== MAGIC) throw badFrame('has no frame magic');
  if (prefix[4] !== VERSION) throw badFrame(`has version ${prefix[4]}, this program reads ${VERSION}`);
  const encoding = prefix[5] ?? 255;
  if (encoding >= FRAME_ENCODINGS.length) throw badFrame(`has the unknown encoding ${encoding}`);
  const chunks = prefix.readUInt32LE(8);
  const bases = prefix.readUInt32LE(12);
  const raw = prefix.readUInt32LE(16);
  const payload = prefix.readUInt32LE(20);
  const isReservedZero = prefix.readUInt16LE(6) === 0 && prefix.readUInt32LE(24) === 0 && prefix.readUInt32LE(28) === 0;
  if (!isReservedZero) throw badFrame('has reserved octets set');
  if (chunks === 0 || chunks > MAX_FRAME_CHUNKS) throw badFrame(`claims ${chunks} chunks (1 to ${MAX_FRAME_CHUNKS})`);
  const isBased = FRAME_ENCODINGS[encoding] === 'zstd-base';
  if (isBased !== bases > 0 || bases > MAX_FRAME_BASES) throw badFrame(`claims ${bases} base chunks`);
  if (raw === 0 || raw > MAX_FRAME_RAW_BYTES) throw badFrame(`claims ${raw} raw bytes (at most ${MAX_FRAME_RAW_BYTES})`);
  if (payload === 0 || payload > raw || (encoding === 0 && payload !== raw)) throw badFrame(`claims ${payload} bytes for ${raw} raw ones`);
  return FRAME_PREFIX_BYTES + chunks * CHUNK_ENTRY_BYTES + bases * DIGEST_BYTES + DIGEST_BYTES;
}

/**
 * Reads a whole frame header from the start of `octets`, which may be longer.
 * Throws `bad_data` when a length, a limit or the header's own SHA-256 does not hold.
 */
export function parseFrameHeader(octets: Buffer): FrameHeader {
  if (octets.length < FRAME_PREFIX_BYTES) throw badFrame('is cut short');
  const headerBytes = frameHeaderBytes(octets);
  if (octets.length < headerBytes) throw badFrame('is cut short in its header');
  const body = octets.subarray(0, headerBytes - DIGEST_BYTES);
  if (!hash('sha256', body, 'buffer').equals(octets.subarray(headerBytes - DIGEST_BYTES, headerBytes))) {
    throw badFrame('has a damaged header');
  }
  const chunks = readChunkTable(octets, octets.readUInt32LE(8));
  const rawBytes = octets.readUInt32LE(16);
  const total = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  if (total !== rawBytes) throw badFrame(`lists ${total} bytes of chunks and claims ${rawBytes}`);
  const basesAt = FRAME_PREFIX_BYTES + chunks.length * CHUNK_ENTRY_BYTES;
  const bases = Array.from({ length: octets.readUInt32LE(12) }, (_, index) => {
    const at = basesAt + index * DIGEST_BYTES;
    return digestFromBytes(octets.subarray(at, at + DIGEST_BYTES));
  });
  return {
    encoding: FRAME_ENCODINGS[octets[5] ?? 0] ?? 'raw',
    rawBytes,
    payloadBytes: octets.readUInt32LE(20),
    headerBytes,
    chunks,
    bases,
    payloadDigest: Buffer.from(octets.subarray(32, 64)),
  };
}

function readChunkTable(octets: Buffer, count: number): FrameChunk[] {
  return Array.from({ length: count }, (_, index) => {
    const at = FRAME_PREFIX_BYTES + index * CHUNK_ENTRY_BYTES;
    const length = octets.readUInt32LE(at + DIGEST_BYTES);
    if (length === 0 || length > MAX_CHUNK_BYTES) throw badFrame(`lists a chunk of ${length} bytes (1 to ${MAX_CHUNK_BYTES})`);
    return { digest: digestFromBytes(octets.subarray(at, at + DIGEST_BYTES)), length };
  });
}

/** Throws `bad_data` unless the payload is the one that the header names. */
export function checkFramePayload(header: FrameHeader, payload: Buffer): void {
  if (payload.length !== header.payloadBytes || !hash('sha256', payload, 'buffer').equals(header.payloadDigest)) {
    throw badFrame('has a damaged payload');
  }
}

/**
 * The chunks of a frame whose payload was checked; each is hashed. They share one buffer. A delta frame needs
 * the dictionary of its base chunks (delta-frame.ts).
 * Throws `bad_data` when the payload does not decode to exactly the chunks that the header names.
 */
export async function decodeFrame(header: FrameHeader, payload: Buffer, dictionary?: Buffer): Promise<Chunk[]> {
  return cutChunks(header, await decodePayload(header, payload, dictionary)).map(checked);
}

export type OpenFrame = {
  readonly chunks: readonly FrameChunk[];
  /** The chunk at a position of the frame, hashed when it is asked for the first time; undefined when there is no such position. */
  chunkAt(position: number): Chunk | undefined;
  /** The same without hashing it. */
  peekAt(position: number): Chunk | undefined;
  /** Ends the use of it and of all that it gave. */
  close(): void;
};

/**
 * Decodes a frame of which few chunks are used: the others are never hashed. Its octets are taken over, and need not have been
 * checked. Throws `bad_data` as decodeFrame does; for a wrong chunk, whoever asks for it is told.
 */
export async function openFrame(header: FrameHeader, payload: Buffer): Promise<OpenFrame> {
  const raw = await decodePayload(header, payload, undefined);
  if (raw !== payload) release(payload);
  const chunks = cutChunks(header, raw);
  const known = new Set<number>();
  return {
    chunks: header.chunks,
    chunkAt(position) {
      const chunk = chunks[position];
      if (chunk === undefined || known.has(position)) return chunk;
      checked(chunk);
      known.add(position);
      return chunk;
    },
    peekAt: (position) => chunks[position],
    close: () => release(raw),
  };
}

function cutChunks(header: FrameHeader, raw: Buffer): Chunk[] {
  let offset = 0;
  return header.chunks.map(({ digest, length }) => {
    const bytes = raw.subarray(offset, offset + length);
    offset += length;
    return { digest, bytes };
  });
}

function checked(chunk: Chunk): Chunk {
  if (chunkDigest(chunk.bytes) !== chunk.digest) throw badFrame(`holds other bytes than ${chunk.digest}`);
  return chunk;
}

async function decodePayload(header: FrameHeader, payload: Buffer, dictionary: Buffer | undefined): Promise<Buffer> {
  if (payload.length !== header.payloadBytes) throw badFrame('has a payload of another length');
  if (header.encoding === 'raw') return payload;
  if ((header.encoding === 'zstd-base') !== (dictionary !== undefined))
    throw badFrame(`is a ${header.encoding} frame, which does not belong here`);
  const raw = await decompress(payload, header.rawBytes, dictionary);
  if (raw.length !== header.rawBytes) throw badFrame(`decodes to ${raw.length} bytes instead of ${header.rawBytes}`);
  return raw;
}

/**
 * One frame of these chunks, whose bytes lie in `raw` one after the other (at most 2 MiB; not to be changed until
 * the frame is there). The digests are taken as given. The same chunks give the same octets with the same
 * zstd. The work is done on libuv's threads, of several frames beside each other.
 */
export async function encodePackedFrame(chunks: readonly FrameChunk[], raw: Buffer, level: number = PLAIN_ENCODER.level): Promise<Buffer> {
  const compressed = await compress(raw, { level });
  const isSmaller = compressed.length < raw.length;
  const octets = joinFrame({ encoding: isSmaller ? 'zstd' : 'raw', chunks, bases: [], payload: isSmaller ? compressed : raw });
  release(compressed);
  return octets;
}

export type FrameContent = {
  readonly encoding: FrameEncoding;
  readonly chunks: readonly FrameChunk[];
  readonly bases: readonly Digest[];
  readonly payload: Buffer;
};

/** A frame's octets: header, sums, payload. Nothing is checked against the limits. */
export function joinFrame({ encoding, chunks, bases, payload }: FrameContent): Buffer {
  const basesAt = FRAME_PREFIX_BYTES + chunks.length * CHUNK_ENTRY_BYTES;
  const header = Buffer.alloc(basesAt + bases.length * DIGEST_BYTES + DIGEST_BYTES);
  header.writeUInt32LE(MAGIC, 0);
  header[4] = VERSION;
  header[5] = FRAME_ENCODINGS.indexOf(encoding);
  header.writeUInt32LE(chunks.length, 8);
  header.writeUInt32LE(bases.length, 12);
  header.writeUInt32LE(
    chunks.reduce((sum, chunk) => sum + chunk.length, 0),
    16,
  );
  header.writeUInt32LE(payload.length, 20);
  hash('sha256', payload, 'buffer').copy(header, 32);
  chunks.forEach(({ digest, length }, index) => {
    const at = FRAME_PREFIX_BYTES + index * CHUNK_ENTRY_BYTES;
    digestBytes(digest).copy(header, at);
    header.writeUInt32LE(length, at + DIGEST_BYTES);
  });
  bases.forEach((digest, index) => {
    digestBytes(digest).copy(header, basesAt + index * DIGEST_BYTES);
  });
  const body = header.subarray(0, header.length - DIGEST_BYTES);
  hash('sha256', body, 'buffer').copy(header, header.length - DIGEST_BYTES);
  return Buffer.concat([header, payload]);
}

/** A frame of chunks that lie anywhere. */
export function encodeFrame(chunks: readonly Chunk[]): Promise<Buffer> {
  return encodePackedFrame(
    chunks.map(({ digest, bytes }) => ({ digest, length: bytes.length })),
    Buffer.concat(chunks.map(({ bytes }) => bytes)),
  );
}

/** The name of these bytes. */
export function chunkDigest(bytes: Uint8Array): Digest {
  return `sha256:${hash('sha256', bytes, 'hex')}` as Digest;
}

function badFrame(what: string): AppError {
  return new AppError('bad_data', `a frame ${what}`, { hint: 'its source is damaged or not ours; fetch it again' });
}
