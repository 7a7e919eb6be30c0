import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Cut, cutBlocks } from '../../../core/content/chunker.ts';
import { chunkDigest } from '../../../core/content/frame.ts';
import { BLOCK_BYTES, MAX_CHUNK_BYTES, MIN_CHUNK_BYTES } from '../../../core/content/limits.ts';
import { fill, noise } from './make-disk.ts';

/** All cuts of a region that is given in slices, with neighbouring zeros joined. */
function cutRegion(region: Buffer, sliceBytes: number): Cut[] {
  const cuts: Cut[] = [];
  let offset = 0;
  let end = 0;
  while (offset < region.length) {
    end = Math.min(region.length, end + sliceBytes);
    const result = cutBlocks(region.subarray(offset, end), end === region.length);
    for (const cut of result.cuts) addCut(cuts, { ...cut, offset: offset + cut.offset });
    offset += result.consumed;
  }
  return cuts;
}

function addCut(cuts: Cut[], cut: Cut): void {
  const last = cuts.at(-1);
  if (last?.kind === 'zero' && cut.kind === 'zero') cuts[cuts.length - 1] = { ...last, length: last.length + cut.length };
  else cuts.push(cut);
}

function region(seed: number, bytes: number): Buffer {
  const octets = Buffer.alloc(bytes);
  fill(octets, 0, bytes, seed);
  return octets;
}

test('cuts cover the region without gaps, keep to the grid and to the bounds, and never hold a zero block', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 10_000 }), fc.integer({ min: 1, max: 3_000_000 }), (seed, bytes) => {
      const octets = region(seed, bytes);
      let next = 0;
      for (const cut of cutRegion(octets, bytes)) {
        assert.equal(cut.offset, next);
        next += cut.length;
        checkCut(octets, cut);
      }
      assert.equal(next, bytes);
    }),
    { numRuns: 40 },
  );
});

function checkCut(octets: Buffer, { kind, offset, length }: Cut): void {
  assert.equal(offset % BLOCK_BYTES, 0);
  const blocks = Array.from({ length: Math.ceil(length / BLOCK_BYTES) }, (_, index) =>
    octets.subarray(offset + index * BLOCK_BYTES, Math.min(offset + length, offset + (index + 1) * BLOCK_BYTES)),
  );
  if (kind === 'data') assert.ok(length <= MAX_CHUNK_BYTES);
  for (const block of blocks)
    assert.equal(
      block.every((octet) => octet === 0),
      kind === 'zero',
    );
}

test('the same region gives the same chunks however it is split over calls', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 10_000 }),
      fc.integer({ min: 1, max: 1_000_000 }),
      fc.integer({ min: 30_000, max: 700_000 }),
      (seed, bytes, slice) => {
        const octets = region(seed, bytes);
        assert.deepEqual(cutRegion(octets, slice), cutRegion(octets, bytes));
      },
    ),
    { numRuns: 40 },
  );
});

test('chunks of ordinary data are 64 KiB on average', () => {
  const chunks = cutRegion(noise(7, 32 * 1024 * 1024), 4 * 1024 * 1024);
  const average = (32 * 1024 * 1024) / chunks.length;
  assert.ok(average > 48 * 1024 && average < 80 * 1024, `average ${average}`);
  assert.ok(chunks.slice(0, -1).every((chunk) => chunk.length >= MIN_CHUNK_BYTES));
});

test('after an insertion of whole blocks the chunks become the same again', () => {
  const before = noise(3, 4 * 1024 * 1024);
  const after = Buffer.concat([before.subarray(0, 1024 * 1024), noise(4, 5 * BLOCK_BYTES), before.subarray(1024 * 1024)]);
  const digests = (octets: Buffer): Set<string> =>
    new Set(cutRegion(octets, octets.length).map(({ offset, length }) => chunkDigest(octets.subarray(offset, offset + length))));
  const [old, fresh] = [digests(before), digests(after)];
  const added = [...fresh].filter((digest) => !old.has(digest));
  assert.ok(added.length <= 4, `${added.length} new chunks`);
});
