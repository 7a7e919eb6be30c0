import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { chunkDigest } from '../../../core/content/frame.ts';
import { encodePage, type LeafEntry, parsePage } from '../../../core/content/page.ts';
import { createTreeWriter, type Extent, readExtents, type TreeReference } from '../../../core/content/page-tree.ts';
import { AppError } from '../../../core/errors.ts';
import type { Digest } from '../../../core/ids.ts';
import { collect } from './collect.ts';
import { random } from './make-disk.ts';

type Pages = Map<Digest, Buffer>;

async function write(entries: readonly LeafEntry[]): Promise<{ tree: TreeReference; pages: Pages }> {
  const pages: Pages = new Map();
  const writer = createTreeWriter(async (bytes) => {
    const digest = chunkDigest(bytes);
    pages.set(digest, bytes);
    return digest;
  });
  for (const entry of entries) await writer.add(entry);
  return { tree: await writer.finish(), pages };
}

function read(tree: TreeReference, pages: Pages, from = 0): Promise<Extent[]> {
  return collect(readExtents(tree, async (digest) => pages.get(digest) ?? assert.fail(`no page ${digest}`), { from }));
}

function someEntries(seed: number, count: number): LeafEntry[] {
  const next = random(seed);
  return Array.from({ length: count }, (_, index): LeafEntry => {
    const kind = next(10);
    if (kind === 0) return { kind: 'zero', length: 4096 * (1 + next(2 ** 18)) };
    if (kind === 1) return { kind: 'free', length: 4096 };
    return { kind: 'data', length: 1 + next(262_144), digest: chunkDigest(Buffer.from(`${seed} ${index}`)) };
  });
}

test('a tree reads back as what was written, at its offsets, also from the middle', async () => {
  for (const count of [1, 2, 4095, 4097, 30_000]) {
    const entries = someEntries(count, count);
    const { tree, pages } = await write(entries);
    assert.equal(tree.entries, count);
    let offset = 0;
    const expected = entries.map((entry) => {
      const extent = { ...entry, offset };
      offset += entry.length;
      return extent;
    });
    assert.deepEqual(await read(tree, pages), expected);
    const middle = expected[Math.floor(count / 2)]?.offset ?? 0;
    assert.deepEqual(
      await read(tree, pages, middle),
      expected.filter((extent) => extent.offset + extent.length > middle),
    );
    assert.ok([...pages.values()].every((page) => page.length <= 262_144));
  }
});

test('an unchanged stretch keeps its pages when it moves', async () => {
  const entries = someEntries(1, 40_000);
  const moved = [...someEntries(2, 3), ...entries.slice(0, 20_000), ...someEntries(3, 5), ...entries.slice(20_001)];
  const [before, after] = [await write(entries), await write(moved)];
  const fresh = [...after.pages.keys()].filter((digest) => !before.pages.has(digest));
  assert.ok(before.pages.size > 20);
  assert.ok(fresh.length <= 8, `${fresh.length} of ${after.pages.size} pages are new`);
});

test('a page is its octets: decoding what was encoded is identity', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1000 }), fc.integer({ min: 1, max: 300 }), (seed, count) => {
      const page = { depth: 0, entries: someEntries(seed, count) };
      assert.deepEqual(parsePage(encodePage(page), 0), page);
    }),
    { numRuns: 50 },
  );
});

test('any octets give a page or bad data', () => {
  const real = encodePage({ depth: 0, entries: someEntries(1, 20) });
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.integer({ min: 0, max: real.length - 1 }),
      fc.integer({ min: 0, max: 255 }),
      (octets, at, value) => {
        const changed = Buffer.from(real);
        changed[at] = value;
        for (const input of [Buffer.from(octets), changed, real.subarray(0, at)]) {
          try {
            parsePage(input, 0);
          } catch (error) {
            assert.ok(error instanceof AppError && error.code === 'bad_data', String(error));
          }
        }
      },
    ),
    { numRuns: 500 },
  );
});

test('a page that covers another length than its parent says is bad data', async () => {
  const { tree, pages } = await write(someEntries(5, 20_000));
  const top = parsePage(pages.get(tree.page) ?? assert.fail(), tree.depth);
  const entries = top.entries.map((entry, index) => (index === 1 ? { ...entry, length: entry.length + 4096 } : entry));
  const forged = encodePage({ depth: tree.depth, entries });
  pages.set(chunkDigest(forged), forged);
  await assert.rejects(read({ ...tree, page: chunkDigest(forged) }, pages), { code: 'bad_data' });
});

test('a page that names itself ends with its depth', async () => {
  const inner = encodePage({ depth: 1, entries: [{ kind: 'page', length: 4096, digest: chunkDigest(Buffer.from('loop')) }] });
  const loop = async (): Promise<Buffer> => inner;
  await assert.rejects(collect(readExtents({ page: chunkDigest(inner), depth: 1, entries: 1 }, loop)), { code: 'bad_data' });
  await assert.rejects(collect(readExtents({ page: chunkDigest(inner), depth: 9, entries: 1 }, loop)), { code: 'bad_data' });
});
