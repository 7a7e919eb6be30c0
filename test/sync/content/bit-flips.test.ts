import assert from 'node:assert/strict';
import { cp, mkdtemp, open, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, test } from 'node:test';
import { parseFrameHeader } from '../../../core/content/frame.ts';
import type { Digest } from '../../../core/ids.ts';
import { checkStore } from '../../../sync/content/check.ts';
import { importDisk } from '../../../sync/content/import-disk.ts';
import { openStore, type Store } from '../../../sync/content/store.ts';
import { verifyImage } from '../../../sync/content/verify-image.ts';
import { gptDisk, noise, random } from '../../core/content/make-disk.ts';
import { flipBit } from '../../helpers/flip-bit.ts';
import { howMany } from '../../helpers/how-many.ts';
import { writeSparse } from './fixtures.ts';

/** SEED repeats a run. */
const FLIPS = howMany({ sample: 200, full: 1000 });
const SEED = Number(process.env['SEED'] ?? 20_260_101);
const MIB = 1024 * 1024;

let directory: string;
let root: string;
let manifest: Digest;
let pack: string;
const nothing = (): void => undefined;

async function opened<Result>(at: string, work: (store: Store) => Promise<Result>): Promise<Result> {
  const store = await openStore(at, new AbortController().signal);
  try {
    return await work(store);
  } finally {
    store.index.close();
  }
}

/** Small, so that 200 full checks are quick. */
function smallDisk(): Buffer {
  const disk = Buffer.alloc(6 * MIB);
  gptDisk(4, 1).subarray(0, MIB).copy(disk);
  noise(11, 1_500_000).copy(disk, MIB);
  Buffer.from('compressible text '.repeat(20_000)).copy(disk, 3 * MIB + 4096);
  return disk;
}

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'waystation-flips-'));
  root = join(directory, 'store');
  await writeSparse(join(directory, 'disk.img'), smallDisk());
  manifest = await opened(root, async (store) => (await importDisk(store, { path: join(directory, 'disk.img') }, nothing)).manifest);
  const [name] = (await readdir(join(root, 'packs'))).filter((file) => file.endsWith('.pack'));
  pack = join(root, 'packs', name ?? assert.fail('no pack'));
});
after(() => rm(directory, { recursive: true, force: true }));

type Range = { readonly start: number; readonly end: number };

/** Where headers, payloads of data and payloads of pages lie in the pack. */
async function packRanges(): Promise<{ headers: Range[]; data: Range[]; pages: Range[] }> {
  const octets = await readFile(pack);
  const ranges = { headers: [] as Range[], data: [] as Range[], pages: [] as Range[] };
  for (let at = 0; at < octets.length; ) {
    const header = parseFrameHeader(octets.subarray(at));
    const payloadAt = at + header.headerBytes;
    const end = payloadAt + header.payloadBytes;
    const isPages = header.chunks.some((chunk) => chunk.digest === manifest);
    ranges.headers.push({ start: at, end: payloadAt });
    (isPages ? ranges.pages : ranges.data).push({ start: payloadAt, end });
    at = end;
  }
  return ranges;
}

function pickBit(ranges: readonly Range[], next: (limit: number) => number): number {
  const range = ranges[next(ranges.length)] ?? assert.fail('no range');
  return (range.start + next(range.end - range.start)) * 8 + next(8);
}

test('bits flipped in payload, frame headers and manifest pages are found by the reader and by check, each one', async (t) => {
  const next = random(SEED);
  const { headers, data, pages } = await packRanges();
  const count = Math.ceil(FLIPS * 0.75);
  let found = 0;
  await opened(root, async (store) => {
    for (let index = 0; index < count; index++) {
      const bit = pickBit([data, headers, pages][index % 3] ?? data, next);
      await flipBit(pack, bit);
      const byReader = await verifyImage(store, manifest, nothing);
      const byCheck = await checkStore(store, {}, nothing);
      await flipBit(pack, bit);
      assert.ok(byReader.damages.length > 0, `the reader missed bit ${bit} of the pack (seed ${SEED})`);
      assert.ok(byCheck.damages.length > 0, `check missed bit ${bit} of the pack (seed ${SEED})`);
      found += 1;
    }
    assert.deepEqual((await checkStore(store, {}, nothing)).damages, []);
  });
  t.diagnostic(`${found} of ${count} flips in packs found, seed ${SEED}`);
});

/** SQLite's record form of a row's integers: big-endian, as few octets as its types have; 0 and 1 take none. */
function integers(...values: readonly number[]): Buffer {
  return Buffer.concat(
    values.map((value) => {
      if (value === 0 || value === 1) return Buffer.alloc(0);
      const bytes = [1, 2, 3, 4, 6].find((size) => value < 2 ** (size * 8 - 1)) ?? 6;
      const octets = Buffer.alloc(bytes);
      octets.writeIntBE(value, 0, bytes);
      return octets;
    }),
  );
}

/** All places in the index's file that hold the content of a row, in tables and in their indexes. */
async function indexRanges(): Promise<Range[]> {
  const path = join(root, 'index.sqlite');
  const octets = await readFile(path);
  const db = new DatabaseSync(path, { readOnly: true });
  const contents: Buffer[] = [];
  for (const row of db.prepare('SELECT name, bytes FROM packs').all())
    contents.push(Buffer.concat([Buffer.from(String(row['name'])), integers(Number(row['bytes']))]));
  for (const row of db.prepare('SELECT offset, bytes, raw_bytes FROM frames').all()) {
    contents.push(integers(Number(row['offset']), Number(row['bytes']), Number(row['raw_bytes'])));
  }
  for (const row of db.prepare('SELECT digest, frame, position, bytes FROM chunks').all()) {
    const digest = Buffer.from(row['digest'] as Uint8Array);
    contents.push(Buffer.concat([digest, integers(Number(row['frame']), Number(row['position']), Number(row['bytes']))]), digest);
  }
  db.close();
  return contents.flatMap((content) => occurrences(octets, content));
}

function occurrences(octets: Buffer, content: Buffer): Range[] {
  const ranges: Range[] = [];
  for (let at = octets.indexOf(content); at !== -1; at = octets.indexOf(content, at + 1))
    ranges.push({ start: at, end: at + content.length });
  return ranges;
}

test('bits flipped in the rows of the index are found by check, and repair brings everything back', async (t) => {
  const next = random(SEED + 1);
  const ranges = await indexRanges();
  assert.ok(ranges.length > 50, `${ranges.length} places`);
  const count = Math.floor(FLIPS * 0.25);
  for (let index = 0; index < count; index++) {
    const copy = join(directory, `copy-${index}`);
    await cp(root, copy, { recursive: true });
    const bit = pickBit(ranges, next);
    await flipBit(join(copy, 'index.sqlite'), bit);
    await opened(copy, async (store) => {
      const report = await checkStore(store, { quarantine: true }, nothing);
      assert.ok(report.damages.length > 0, `check missed bit ${bit} of the index (seed ${SEED})`);
      assert.deepEqual((await checkStore(store, {}, nothing)).damages, [], 'repaired');
      assert.deepEqual((await verifyImage(store, manifest, nothing)).damages, []);
    });
    await rm(copy, { recursive: true });
  }
  t.diagnostic(`${count} of ${count} flips in the index found and repaired, seed ${SEED}`);
});

test('a damaged pack goes to quarantine, its image tells what is missing, and an import brings it back', async () => {
  const copy = join(directory, 'healing');
  await cp(root, copy, { recursive: true });
  const { data } = await packRanges();
  await flipBit(pack.replace(root, copy), pickBit(data, random(1)));
  await opened(copy, async (store) => {
    assert.ok((await checkStore(store, { quarantine: true }, nothing)).damages.length > 0);
    assert.deepEqual((await checkStore(store, {}, nothing)).damages, []);
    assert.ok((await verifyImage(store, manifest, nothing)).damages.every(({ digest }) => digest !== undefined));
    assert.ok((await verifyImage(store, manifest, nothing)).damages.length > 0);
    assert.equal((await readdir(join(copy, 'quarantine'))).length, 1);
    assert.equal((await importDisk(store, { path: join(directory, 'disk.img') }, nothing)).manifest, manifest);
    assert.deepEqual((await verifyImage(store, manifest, nothing)).damages, []);
  });
});

test('an index that is lost, empty, cut off or foreign is made again from the packs', async () => {
  for (const [name, octets] of [
    ['lost', undefined],
    ['empty', Buffer.alloc(0)],
    ['foreign', Buffer.from('this is no database '.repeat(500))],
    ['cut off', (await readFile(join(root, 'index.sqlite'))).subarray(0, 5000)],
  ] as const) {
    const copy = join(directory, name);
    await cp(root, copy, { recursive: true });
    const index = join(copy, 'index.sqlite');
    await rm(index);
    if (octets) {
      const file = await open(index, 'w');
      await file.write(octets);
      await file.close();
    }
    await opened(copy, async (store) => {
      await checkStore(store, { quarantine: true }, nothing);
      assert.deepEqual((await checkStore(store, {}, nothing)).damages, [], name);
      assert.deepEqual((await verifyImage(store, manifest, nothing)).damages, [], name);
    });
  }
});
