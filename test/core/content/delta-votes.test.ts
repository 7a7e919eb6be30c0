import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createBaseMap } from '../../../core/content/delta/base-map.ts';
import { createBlockIndex } from '../../../core/content/delta/block-index.ts';
import { findCounterparts } from '../../../core/content/delta/counterparts.ts';
import { createFileMap } from '../../../core/content/delta/file-map.ts';
import { createSketch, likeness } from '../../../core/content/delta/sketch.ts';
import { createVotes } from '../../../core/content/delta/votes.ts';
import { chunkDigest } from '../../../core/content/frame.ts';
import type { Digest } from '../../../core/ids.ts';

const BLOCK = 4096;
const named = (name: string): Digest => chunkDigest(Buffer.from(name));

test('a block is found by its sum, the first of equal ones, whatever the sums are', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.nat({ max: 20 }), fc.nat({ max: 0xffffffff })), { maxLength: 5000 }), (sums) => {
      const index = createBlockIndex();
      for (const sum of sums) index.add(sum);
      for (const sum of sums) assert.equal(index.find(sum), sums.indexOf(sum));
      assert.equal(index.find(0xdeadbeef), sums.indexOf(0xdeadbeef));
    }),
    { numRuns: 50 },
  );
});

/** A base of four chunks of four blocks, one after the other, with a gap before the last; block n has the sum 100 + n. */
function smallBase() {
  const base = createBaseMap();
  for (const [n, offset] of [0, 4, 8, 40].entries()) {
    const sums = [0, 1, 2, 3].map((block) => 100 + n * 4 + block);
    base.add({ digest: named(`chunk ${n}`), offset: offset * BLOCK, length: 4 * BLOCK }, sums);
  }
  return base;
}

test('the base tells which chunk covers a place and which one holds a block', () => {
  const base = smallBase();
  assert.equal(base.chunkAt(0, 5 * BLOCK + 17), 1);
  assert.equal(base.chunkAt(0, 12 * BLOCK), -1, 'in the gap');
  assert.equal(base.chunkAt(0, 44 * BLOCK), -1, 'behind the end');
  assert.equal(base.chunkAt(1, 0), -1, 'another image');
  assert.equal(base.chunkWith(110), 2);
  assert.equal(base.chunkWith(99), -1);
  assert.equal(base.digestOf(3), named('chunk 3'));
});

test('chunks that hold the same blocks are elected, in the order of the base, and weak ones are not', () => {
  const votes = createVotes(smallBase());
  for (const sum of [112, 113, 114, 104, 105, 106]) votes.count(1000 * BLOCK, sum);
  votes.count(0, 1);
  assert.deepEqual(votes.elect(), [named('chunk 1'), named('chunk 3')]);
  assert.deepEqual(votes.elect(), [], 'votes count once');
});

test('at most 4 MiB are elected, most votes first', () => {
  const base = createBaseMap();
  for (let n = 0; n < 40; n++) base.add({ digest: named(`${n}`), offset: n * 262_144, length: 262_144 }, [n]);
  const votes = createVotes(base);
  for (let n = 0; n < 40; n++) for (let times = 0; times < (n % 2 ? 9 : 4); times++) votes.count(2 ** 40, n);
  const elected = votes.elect();
  assert.equal(elected.length, 16);
  assert.ok(elected.every((digest) => [...Array(20).keys()].some((half) => digest === named(`${half * 2 + 1}`))));
});

test('a file finds its like: same path, then the path but for digits, then the name of nearest size', () => {
  const maker = createFileMap();
  const add = (path: string, sizeBytes: number, diskOffset: number) =>
    maker.add({ path, sizeBytes, runs: [{ fileOffset: 0, diskOffset, length: sizeBytes }] });
  add('lib/modules/6.1.0-50/ext4.ko', 9000, 0);
  add('usr/a/README', 500, 20_000);
  add('usr/b/README', 4000, 30_000);
  add('etc/passwd', 100, 40_000);
  const map = maker.finish();
  const like = (path: string, sizeBytes: number): number => {
    const other = createFileMap();
    other.add({ path, sizeBytes, runs: [] });
    return map.find(other.finish().likenessOf(0));
  };
  assert.equal(like('etc/passwd', 7), 3);
  assert.equal(like('lib/modules/6.1.0-56/ext4.ko', 9100), 0);
  assert.equal(like('opt/README', 3000), 2);
  assert.equal(like('opt/README', 600), 1);
  assert.equal(like('opt/LICENSE', 600), -1);
});

test('what moved with its file is voted for at its old place', () => {
  const wanted = createFileMap();
  wanted.add({ path: 'boot/vmlinuz-2', sizeBytes: 4 * BLOCK, runs: [{ fileOffset: 0, diskOffset: 500 * BLOCK, length: 4 * BLOCK }] });
  const before = createFileMap();
  before.add({ path: 'boot/vmlinuz-1', sizeBytes: 4 * BLOCK, runs: [{ fileOffset: 0, diskOffset: 40 * BLOCK, length: 4 * BLOCK }] });
  const votes = createVotes(smallBase(), findCounterparts(wanted.finish(), [before.finish()]));
  for (let block = 0; block < 4; block++) votes.count((500 + block) * BLOCK, 1);
  assert.deepEqual(votes.elect(), [named('chunk 3')]);
  votes.count(300 * BLOCK, 1);
  assert.deepEqual(votes.elect(), [], 'nobody owns this block');
});

test('sketches tell how much two images share', () => {
  const sketchOf = (from: number, to: number) => {
    const sketch = createSketch();
    for (let n = from; n < to; n++) sketch.add(named(`${n}`));
    return sketch.finish();
  };
  const one = sketchOf(0, 10_000);
  assert.equal(likeness(one, sketchOf(0, 10_000)), 256);
  const half = likeness(one, sketchOf(5000, 15_000));
  assert.ok(half > 40 && half < 200, `${half}`);
  assert.equal(likeness(one, sketchOf(20_000, 30_000)), 0);
});
