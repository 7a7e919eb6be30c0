import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { chunkDigest, encodeFrame } from '../../../core/content/frame.ts';
import type { BuiltArchive, ContentStore } from '../../../core/content-store.ts';
import type { Digest } from '../../../core/ids.ts';
import { encodePartHeader, encodePartTrailer } from '../../../sync/content/part-format.ts';
import { gptDisk, noise } from '../../core/content/make-disk.ts';
import { exportOctets, hashOf, importOctets, leftovers, openedStore, sha256, temporaryDirectory } from './fixtures.ts';

const MIB = 1024 * 1024;

async function versions(
  t: TestContext,
): Promise<{ directory: string; store: ContentStore; one: Digest; two: Digest; disks: [Buffer, Buffer] }> {
  const directory = await temporaryDirectory(t);
  const store = await openedStore(t, join(directory, 'store'));
  const first = gptDisk(20, 1);
  const second = Buffer.from(first);
  noise(77, 300_000).copy(second, 9 * MIB);
  const one = await importOctets(store, directory, first);
  const two = await importOctets(store, directory, second);
  return { directory, store, one, two, disks: [first, second] };
}

async function unpackAll(store: ContentStore, archive: BuiltArchive): Promise<void> {
  for (const part of archive.parts) await store.unpackPart(join(archive.directory, part.name));
}

test('an archive carries an image to a second store, and the next one only the difference', async (t) => {
  const { directory, store, one, two, disks } = await versions(t);
  const branch = await openedStore(t, join(directory, 'branch'));
  const whole = await store.buildArchive({ have: [], want: [one] });
  const [part] = whole.parts;
  assert.equal(part?.name, await sha256(join(whole.directory, part?.name ?? '')));
  assert.equal(part?.sizeBytes, (await stat(join(whole.directory, part?.name ?? ''))).size);
  await unpackAll(branch, whole);
  assert.equal(await exportOctets(branch, directory, one), hashOf(disks[0]));
  assert.deepEqual((await branch.missingOf([one])).complete, [one]);

  assert.deepEqual((await branch.missingOf([two])).complete, []);
  const difference = await store.buildArchive({ have: [one], want: [two] });
  const bytes = difference.parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  assert.ok(bytes < 700_000, `${bytes} bytes for 300,000 changed ones`);
  await unpackAll(branch, difference);
  assert.equal(await exportOctets(branch, directory, two), hashOf(disks[1]));
  assert.deepEqual((await branch.check()).damages, []);
  await unpackAll(branch, difference);
  assert.deepEqual((await branch.check()).damages, [], 'unpacking twice is harmless');
});

test('the same request gives the same octets: in any order, from other packs, in another store', async (t) => {
  const { directory, store, one, two } = await versions(t);
  const first = await store.buildArchive({ have: [], want: [one, two] });
  const branch = await openedStore(t, join(directory, 'branch'));
  await unpackAll(branch, await store.buildArchive({ have: [], want: [two] }));
  await unpackAll(branch, await store.buildArchive({ have: [two], want: [one] }));
  const second = await branch.buildArchive({ have: [], want: [two, one, two] });
  assert.equal(second.key, first.key);
  assert.deepEqual(second.parts, first.parts);
  const unknown = chunkDigest(Buffer.from('unknown'));
  assert.equal(
    (await store.buildArchive({ have: [unknown], want: [one, two] })).key,
    first.key,
    'a manifest that is not here does not count',
  );
});

test('a finished archive is found again, one that lost a part is built again, and two at once share the work', async (t) => {
  const { store, one } = await versions(t);
  const [first, same] = await Promise.all([store.buildArchive({ have: [], want: [one] }), store.buildArchive({ have: [], want: [one] })]);
  assert.deepEqual(first, same);
  const path = join(first.directory, first.parts[0]?.name ?? '');
  const { mtimeMs } = await stat(path);
  await store.buildArchive({ have: [], want: [one] });
  assert.equal((await stat(path)).mtimeMs, mtimeMs, 'not written again');
  await rm(path);
  assert.deepEqual(await store.buildArchive({ have: [], want: [one] }), first);
  assert.equal(await sha256(path), first.parts[0]?.name);
  assert.deepEqual(await readdir(first.directory), [first.parts[0]?.name], 'the directory holds parts and nothing else');
});

test('single chunks can be asked for, and nothing new makes an archive without parts', async (t) => {
  const { directory, store, one } = await versions(t);
  const { parts } = await store.buildArchive({ have: [one], want: [one] });
  assert.deepEqual(parts, []);
  const branch = await openedStore(t, join(directory, 'branch'));
  await unpackAll(branch, await store.buildArchive({ have: [], want: [], wantChunks: [one] }));
  assert.equal((await branch.stats()).chunks, 1);
  assert.equal(await branch.readRoot(one), await store.readRoot(one));
});

test('what this store does not have is not_found', async (t) => {
  const { store, one } = await versions(t);
  const unknown = chunkDigest(Buffer.from('unknown'));
  await assert.rejects(store.buildArchive({ have: [], want: [one, unknown] }), { code: 'not_found' });
  await assert.rejects(store.buildArchive({ have: [], want: [], wantChunks: [unknown] }), { code: 'not_found' });
});

test('the cache evicts what was not used longest, but nothing that is held', async (t) => {
  const directory = await temporaryDirectory(t);
  const store = await openedStore(t, join(directory, 'store'), { cacheBytes: 1, keepMs: 1000 });
  const images: Digest[] = [];
  for (const seed of [1, 2, 3]) images.push(await importOctets(store, directory, gptDisk(6, seed)));
  const build = async (want: Digest | undefined): Promise<string> => {
    const { key, directory: at } = await store.buildArchive({ have: [], want: want ? [want] : [] });
    await utimes(`${at}.json`, 1, 1);
    return key;
  };
  const first = await build(images[0]);
  await store.holdArchive(first);
  const second = await build(images[1]);
  const third = await build(images[2]);
  const listed = async (): Promise<string[]> =>
    (await readdir(join(directory, 'store', 'archives'))).filter((name) => !name.endsWith('.json'));
  assert.deepEqual((await listed()).sort(), [first, third].sort(), `${second} went`);
  await store.releaseArchive(first);
  await build(images[1]);
  assert.deepEqual(await listed(), [second]);
});

test('foreign, damaged, cut off, over-long and lying parts are refused, and nothing of them is stored', async (t) => {
  const { directory, store, one } = await versions(t);
  const { directory: at, parts } = await store.buildArchive({ have: [], want: [one] });
  const real = await readFile(join(at, parts[0]?.name ?? ''));
  const bytes = noise(1, 50_000);
  const frame = await encodeFrame([{ digest: chunkDigest(bytes), bytes }]);
  const encoder = { format: 1, zstd: '1', level: 3 };
  const forged = (header: { frames: number; rawBytes: number }, ...frames: Buffer[]): Buffer => {
    const full = { encoder, part: 0, ...header };
    return Buffer.concat([encodePartHeader(full), ...frames, encodePartTrailer(full)]);
  };
  const liar = await encodeFrame([{ digest: chunkDigest(Buffer.from('other')), bytes }]);
  const flipped = Buffer.from(real);
  flipped[real.length >> 1] = (flipped[real.length >> 1] ?? 0) ^ 4;
  const cases: Record<string, Buffer> = {
    empty: Buffer.alloc(0),
    foreign: noise(3, 5000),
    'cut off': real.subarray(0, real.length - 100),
    'cut off at a frame': Buffer.concat([real.subarray(0, 512), real.subarray(-40)]),
    longer: Buffer.concat([real, Buffer.alloc(1)]),
    flipped,
    'declares less': forged({ frames: 1, rawBytes: 50_000 }, frame, frame),
    'declares more': forged({ frames: 3, rawBytes: 150_000 }, frame),
    'declares other bytes': forged({ frames: 1, rawBytes: 49_999 }, frame),
    'chunk with a wrong name': forged({ frames: 1, rawBytes: 50_000 }, liar),
  };
  const root = join(directory, 'branch');
  const branch = await openedStore(t, root);
  await mkdir(join(directory, 'parts'));
  for (const [name, octets] of Object.entries(cases)) {
    const path = join(directory, 'parts', name);
    await writeFile(path, octets);
    await assert.rejects(
      branch.unpackPart(path),
      (error: Error & { code: string }) => error.code === 'bad_data' || error.code === 'corrupt',
      name,
    );
  }
  assert.equal((await branch.stats()).chunks, 0);
  assert.deepEqual(await leftovers(root), []);
  const honest = join(directory, 'parts', 'honest');
  await writeFile(honest, forged({ frames: 1, rawBytes: 50_000 }, frame));
  assert.deepEqual(await branch.unpackPart(honest), { chunks: 1, rawBytes: 50_000, skippedFrames: 0 });
});

test('damage in the cache of archives is built over: a part with a flipped bit, a list that is none', async (t) => {
  const directory = await temporaryDirectory(t);
  const root = join(directory, 'store');
  const before = await openedStore(t, root);
  const [one, two] = [await importOctets(before, directory, gptDisk(6, 1)), await importOctets(before, directory, gptDisk(6, 2))];
  const first = await before.buildArchive({ have: [], want: [one] });
  const second = await before.buildArchive({ have: [], want: [two] });
  await before.close();
  const path = join(first.directory, first.parts[0]?.name ?? '');
  const octets = await readFile(path);
  octets[octets.length >> 1] = (octets[octets.length >> 1] ?? 0) ^ 1;
  await writeFile(path, octets);
  await writeFile(`${second.directory}.json`, '{');
  const store = await openedStore(t, root);
  assert.deepEqual(await store.buildArchive({ have: [], want: [one] }), first);
  assert.equal(await sha256(path), first.parts[0]?.name);
});

test('archives that are finished at the same time may all make room', async (t) => {
  const directory = await temporaryDirectory(t);
  const store = await openedStore(t, join(directory, 'store'), { cacheBytes: 1, keepMs: 0 });
  const images: Digest[] = [];
  for (const seed of [1, 2, 3, 4]) images.push(await importOctets(store, directory, gptDisk(4, seed)));
  for (let round = 0; round < 5; round += 1) {
    await Promise.all(images.map((image) => store.buildArchive({ have: [], want: [image] })));
  }
});
