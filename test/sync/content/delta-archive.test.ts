import assert from 'node:assert/strict';
import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { readFrames } from '../../../core/content/frame-reader.ts';
import type { BuiltArchive, ContentStore } from '../../../core/content-store.ts';
import type { Digest } from '../../../core/ids.ts';
import { READ_ENCODINGS } from '../../../core/negotiate.ts';
import { parsePartHeader } from '../../../sync/content/part-format.ts';
import { gptDisk, noise } from '../../core/content/make-disk.ts';
import { exportOctets, hashOf, importOctets, openedStore, temporaryDirectory } from './fixtures.ts';

const MIB = 1024 * 1024;
const encodings = READ_ENCODINGS;

type Versions = {
  readonly directory: string;
  readonly store: ContentStore;
  readonly one: Digest;
  readonly two: Digest;
  readonly sum: string;
};

/** Two versions of a disk: in the second, every 40,000 octets of its data 60 are others, and 2 MiB lie elsewhere. */
async function versions(t: TestContext): Promise<Versions> {
  const directory = await temporaryDirectory(t);
  const store = await openedStore(t, join(directory, 'store'));
  const [first, second] = successive();
  return {
    directory,
    store,
    one: await importOctets(store, directory, first),
    two: await importOctets(store, directory, second),
    sum: hashOf(second),
  };
}

function successive(): [Buffer, Buffer] {
  const first = gptDisk(20, 1);
  noise(31, 6 * MIB).copy(first, 8 * MIB);
  const second = Buffer.from(first);
  for (let at = 8 * MIB; at < 12 * MIB; at += 40_000) noise(at, 60).copy(second, at);
  first.copy(second, 14 * MIB + 4096, 9 * MIB, 11 * MIB);
  return [first, second];
}

async function unpackAll(store: ContentStore, archive: BuiltArchive): Promise<number> {
  let skipped = 0;
  for (const part of archive.parts) skipped += (await store.unpackPart(join(archive.directory, part.name))).skippedFrames;
  return skipped;
}

const sizeOf = ({ parts }: BuiltArchive): number => parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);

async function encodingsOf({ directory, parts }: BuiltArchive): Promise<string[]> {
  const found: string[] = [];
  for (const { name } of parts) {
    const octets = await readFile(join(directory, name));
    const frames = (async function* () {
      yield octets.subarray(512, -40);
    })();
    for await (const { header } of readFrames(frames)) found.push(header.encoding);
  }
  return found;
}

test('an update is coded against the base: a fraction of plain frames, and no pack holds a delta', async (t) => {
  const { directory, store, one, two, sum } = await versions(t);
  const branch = await openedStore(t, join(directory, 'branch'));
  await unpackAll(branch, await store.buildArchive({ have: [], want: [one] }));
  const plain = await store.buildArchive({ have: [one], want: [two] });
  const delta = await store.buildArchive({ have: [one], want: [two], encodings });
  assert.notEqual(delta.key, plain.key);
  assert.ok(sizeOf(delta) * 10 < sizeOf(plain), `${sizeOf(delta)} octets instead of ${sizeOf(plain)}`);
  assert.ok((await encodingsOf(delta)).includes('zstd-base'));
  assert.ok(!(await encodingsOf(plain)).includes('zstd-base'));
  const header = async ({ directory: at, parts }: BuiltArchive) =>
    parsePartHeader((await readFile(join(at, parts[0]?.name ?? ''))).subarray(0, 512)).encoder;
  assert.equal((await header(plain)).delta, undefined);
  assert.ok((await header(delta)).delta);

  assert.equal(await unpackAll(branch, delta), 0);
  assert.equal(await exportOctets(branch, directory, two), sum);
  const { damages } = await branch.check();
  assert.deepEqual(damages, [], 'every frame in the packs decodes on its own');
  assert.equal(await unpackAll(branch, delta), 0, 'twice is harmless');
});

test('the same have and want give the same parts from other packs, imported in another order, and twice', async (t) => {
  const { directory, store, one, two } = await versions(t);
  const other = await openedStore(t, join(directory, 'other'));
  await unpackAll(other, await store.buildArchive({ have: [], want: [two] }));
  await unpackAll(other, await store.buildArchive({ have: [two], want: [one] }));
  const here = await store.buildArchive({ have: [one], want: [two], encodings });
  const there = await other.buildArchive({ have: [one, one], want: [two], encodings });
  assert.deepEqual({ key: there.key, parts: there.parts }, { key: here.key, parts: here.parts });
  const [again] = [await openedStore(t, join(directory, 'third'))];
  const [first, second] = successive();
  await importOctets(again, directory, second);
  await importOctets(again, directory, first);
  assert.deepEqual((await again.buildArchive({ have: [one], want: [two], encodings })).parts, here.parts);
});

test('a frame whose base chunk is damaged here is left out and counted; plain frames then bring it', async (t) => {
  const { directory, store, one, two, sum } = await versions(t);
  const root = join(directory, 'branch');
  const branch = await openedStore(t, root);
  await unpackAll(branch, await store.buildArchive({ have: [], want: [one] }));
  await damageMiddle(join(root, 'packs'));
  const delta = await store.buildArchive({ have: [one], want: [two], encodings });
  assert.ok((await unpackAll(branch, delta)) > 0);
  assert.deepEqual((await branch.missingOf([two])).complete, []);
  const plain = await store.buildArchive({ have: [], want: [two] });
  assert.equal(await unpackAll(branch, plain), 0);
  assert.deepEqual((await branch.missingOf([two])).complete, [two]);
  assert.ok(sum);
});

test('who holds nothing of the base leaves all delta frames out and keeps the rest', async (t) => {
  const { directory, store, one, two } = await versions(t);
  const branch = await openedStore(t, join(directory, 'branch'));
  const delta = await store.buildArchive({ have: [one], want: [two], encodings });
  const made = await encodingsOf(delta);
  assert.equal(await unpackAll(branch, delta), made.filter((encoding) => encoding === 'zstd-base').length);
});

test('of several images that the receiver has, the likest is built on', async (t) => {
  const { directory, store, one, two } = await versions(t);
  const others: Digest[] = [];
  for (const seed of [5, 6]) others.push(await importOctets(store, directory, gptDisk(20, seed)));
  const alone = await store.buildArchive({ have: [one], want: [two], encodings });
  const among = await store.buildArchive({ have: [...others, one], want: [two], encodings });
  assert.ok(sizeOf(among) < sizeOf(alone) + 2000, `${sizeOf(among)} octets, ${sizeOf(alone)} with the right base alone`);
});

async function damageMiddle(packs: string): Promise<void> {
  for (const name of await readdir(packs)) {
    const file = await open(join(packs, name), 'r+');
    const { size } = await file.stat();
    for (let at = Math.floor(size / 3); at < size; at += 1_200_000) await file.write(Buffer.from([1, 2, 3, 4]), 0, 4, at);
    await file.close();
  }
}
