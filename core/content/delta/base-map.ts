import { type Digest, digestBytes, digestFromBytes } from '../../ids.ts';
import { BLOCK_BYTES } from '../limits.ts';
import { type BlockIndex, createBlockIndex } from './block-index.ts';
import { float64, growing, lastAtMost, uint32 } from './growing.ts';

/**
 * Where the base's chunks lie and what blocks they hold: about 70 octets a chunk and 12 a block. Chunks are numbered in the
 * order in which they came; one that lies in several places has as many numbers.
 */
export type BaseMap = {
  /** Chunks of one image come in the order of its disk, `crcs` are those of their blocks of 4 KiB (the last may be short). */
  add(place: { readonly digest: Digest; readonly offset: number; readonly length: number }, crcs: Iterable<number>): void;
  /** The next chunk belongs to another image. */
  nextImage(): void;
  readonly images: number;
  readonly chunks: number;
  digestOf(chunk: number): Digest;
  lengthOf(chunk: number): number;
  offsetOf(chunk: number): number;
  /** The chunk that covers this octet of an image, or -1. */
  chunkAt(image: number, offset: number): number;
  /** A chunk that holds a block with this CRC-32, or -1. */
  chunkWith(crc: number): number;
};

export function createBaseMap(): BaseMap {
  const offsets = growing(float64);
  const lengths = growing(uint32);
  const firstBlocks = growing(uint32);
  const digests: Buffer[] = [];
  const imageStarts: number[] = [0];
  const blocks: BlockIndex = createBlockIndex();
  const DIGESTS_A_SLAB = 4096;

  function keepDigest(digest: Digest, chunk: number): void {
    const place = chunk % DIGESTS_A_SLAB;
    if (place === 0) digests.push(Buffer.alloc(DIGESTS_A_SLAB * 32));
    digestBytes(digest).copy(digests.at(-1) as Buffer, place * 32);
  }

  return {
    add({ digest, offset, length }, crcs) {
      keepDigest(digest, offsets.length);
      offsets.push(offset);
      lengths.push(length);
      firstBlocks.push(blocks.blocks);
      for (const crc of crcs) blocks.add(crc);
    },
    nextImage: () => void imageStarts.push(offsets.length),
    get images() {
      return imageStarts.length;
    },
    get chunks() {
      return offsets.length;
    },
    digestOf(chunk) {
      const at = (chunk % DIGESTS_A_SLAB) * 32;
      return digestFromBytes((digests[Math.floor(chunk / DIGESTS_A_SLAB)] as Buffer).subarray(at, at + 32));
    },
    lengthOf: (chunk) => lengths.values()[chunk] ?? 0,
    offsetOf: (chunk) => offsets.values()[chunk] ?? 0,
    chunkAt(image, offset) {
      const start = imageStarts[image] ?? offsets.length;
      const chunk = lastAtMost(offsets.values(), offset, start, imageStarts[image + 1] ?? offsets.length);
      return chunk >= start && offset < (offsets.values()[chunk] ?? 0) + (lengths.values()[chunk] ?? 0) ? chunk : -1;
    },
    chunkWith(crc) {
      const block = blocks.find(crc);
      return block < 0 ? -1 : lastAtMost(firstBlocks.values(), block);
    },
  };
}

/** Octets of this block of a chunk; the last one may be short. */
export function* blocksOf(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) yield bytes.subarray(at, at + BLOCK_BYTES);
}
