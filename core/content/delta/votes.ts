import type { Digest } from '../../ids.ts';
import { BLOCK_BYTES, MAX_BASE_BYTES, MAX_FRAME_BASES } from '../limits.ts';
import type { BaseMap } from './base-map.ts';

/** A place in one of the base's images. */
export type Place = { readonly image: number; readonly offset: number };

/** The file of the base that is like the owner of an octet of the new image: the same place in it, `distance` octets further. */
export type Counterpart = { at(distance: number): Place | undefined };
/** Undefined when nobody owns that octet, or no file is like the owner. */
export type FindCounterpart = (offset: number) => Counterpart | undefined;

export const WEIGHTS = { sameBlock: 4, samePlace: 1, sameFile: 3, nearby: 1.5 } as const;
/** Blocks around the place in the base's file that count as well: what was inserted or cut moves the rest. */
const NEARBY_BLOCKS = [-16, -8, 8, 16];

/** A chunk with less is left out: that saves the receiver reading it, and costs about a hundredth more octets. */
const LEAST_VOTES = 12;

/** Counts, for the chunks of one frame, which base chunks resemble them. */
export type Votes = {
  /** One block of 4 KiB (or less) of the new image: its place there and its CRC-32. */
  count(offset: number, crc: number): void;
  /** The base chunks to build on, and forgets. Empty when nothing resembles. */
  elect(): Digest[];
};

export function createVotes(base: BaseMap, counterpart?: FindCounterpart): Votes {
  let scores = new Map<number, number>();

  function vote(chunk: number, weight: number): void {
    if (chunk >= 0) scores.set(chunk, (scores.get(chunk) ?? 0) + weight);
  }

  function voteFor(place: Place | undefined, weight: number): void {
    if (place !== undefined) vote(base.chunkAt(place.image, place.offset), weight);
  }

  return {
    count(offset, crc) {
      vote(base.chunkWith(crc), WEIGHTS.sameBlock);
      for (let image = 0; image < base.images; image++) vote(base.chunkAt(image, offset), WEIGHTS.samePlace);
      const file = counterpart?.(offset);
      if (file === undefined) return;
      voteFor(file.at(0), WEIGHTS.sameFile);
      for (const blocks of NEARBY_BLOCKS) voteFor(file.at(blocks * BLOCK_BYTES), WEIGHTS.nearby);
    },
    elect() {
      const elected = electChunks(scores, base);
      scores = new Map();
      return elected;
    },
  };
}

/** Most votes first while there is room; then in the order of the base, so that neighbours lie as they do on the disk. */
function electChunks(scores: ReadonlyMap<number, number>, base: BaseMap): Digest[] {
  const ranked = [...scores].sort(([chunkA, scoreA], [chunkB, scoreB]) => scoreB - scoreA || chunkA - chunkB);
  const elected = new Map<Digest, number>();
  let bytes = 0;
  for (const [chunk, score] of ranked) {
    if (score < LEAST_VOTES || elected.size === MAX_FRAME_BASES) break;
    const digest = base.digestOf(chunk);
    const length = base.lengthOf(chunk);
    if (elected.has(digest) || bytes + length > MAX_BASE_BYTES) continue;
    elected.set(digest, chunk);
    bytes += length;
  }
  return [...elected].sort(([, a], [, b]) => a - b).map(([digest]) => digest);
}
