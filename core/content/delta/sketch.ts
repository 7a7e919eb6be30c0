import type { Digest } from '../../ids.ts';

/** How many of the smallest digests tell an image's likeness. */
const KEPT = 256;

/** The smallest digests of an image, as 48-bit numbers, ascending: two images share about as many of them as they share content. */
export type Sketch = readonly number[];

export type SketchMaker = { add(digest: Digest): void; finish(): Sketch };

/** Source: bottom-k sketches, Broder, "On the resemblance and containment of documents", 1997. */
export function createSketch(): SketchMaker {
  let smallest: number[] = [];
  let limit = Number.POSITIVE_INFINITY;

  function trim(): void {
    smallest = [...new Set(smallest)].sort((a, b) => a - b).slice(0, KEPT);
    limit = smallest.length === KEPT ? (smallest.at(-1) ?? limit) : limit;
  }

  return {
    add(digest) {
      const number = Number.parseInt(digest.slice(7, 19), 16);
      if (number >= limit) return;
      smallest.push(number);
      if (smallest.length >= 4 * KEPT) trim();
    },
    finish() {
      trim();
      return smallest;
    },
  };
}

/** How many digests of two sketches are the same: 0 to 256. */
export function likeness(one: Sketch, other: Sketch): number {
  const held = new Set(one);
  return other.filter((number) => held.has(number)).length;
}
