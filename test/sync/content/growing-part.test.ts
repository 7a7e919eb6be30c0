import assert from 'node:assert/strict';
import { appendFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { ContentStore } from '../../../core/content-store.ts';
import type { Digest } from '../../../core/ids.ts';
import { gptDisk } from '../../core/content/make-disk.ts';
import { exportOctets, hashOf, importOctets, openedStore, temporaryDirectory } from './fixtures.ts';

type Prepared = { directory: string; branch: ContentStore; image: Digest; disk: Buffer; octets: Buffer; path: string };

/** A part with one image, a store that has nothing, and the path at which the part will grow. */
async function prepare(t: TestContext): Promise<Prepared> {
  const directory = await temporaryDirectory(t);
  const store = await openedStore(t, join(directory, 'store'));
  const disk = gptDisk(12, 1);
  const image = await importOctets(store, directory, disk);
  const archive = await store.buildArchive({ have: [], want: [image] });
  const octets = await readFile(join(archive.directory, archive.parts[0]?.name ?? ''));
  await mkdir(join(directory, 'incoming'));
  return {
    directory,
    branch: await openedStore(t, join(directory, 'branch')),
    image,
    disk,
    octets,
    path: join(directory, 'incoming', 'part'),
  };
}

test('a part is unpacked while it grows, and visible once it is said to be right', async (t) => {
  const { directory, branch, image, disk, octets, path } = await prepare(t);
  const right = Promise.withResolvers<void>();
  const unpacking = branch.unpackGrowing(path, { sizeBytes: octets.length, isRight: right.promise });
  for (let at = 0; at < octets.length; at += 700_001) await appendFile(path, octets.subarray(at, at + 700_001));
  const isEarly = await Promise.race([unpacking.then(() => true), new Promise((resolve) => setTimeout(resolve, 300, false))]);
  assert.equal(isEarly, false);
  assert.equal((await branch.stats()).chunks, 0);
  right.resolve();
  assert.ok((await unpacking).chunks > 0);
  assert.equal(await exportOctets(branch, directory, image), hashOf(disk));
});

test('a part that turns out wrong leaves nothing', async (t) => {
  const { branch, octets, path } = await prepare(t);
  const right = Promise.withResolvers<void>();
  const unpacking = branch.unpackGrowing(path, { sizeBytes: octets.length, isRight: right.promise });
  await writeFile(path, octets);
  right.reject(new Error('another hash'));
  await assert.rejects(unpacking, { code: 'unreachable' });
  assert.equal((await branch.stats()).chunks, 0);
});

test('a part that stops growing, is removed or grows too long ends the wait, and the whole one is unpacked later', async (t) => {
  const { directory, branch, image, disk, octets, path } = await prepare(t);
  const never = new Promise<void>(() => undefined);
  const right = Promise.withResolvers<void>();
  const stopped = branch.unpackGrowing(path, { sizeBytes: octets.length, isRight: right.promise });
  await writeFile(path, octets.subarray(0, 1_000_000));
  right.reject(new Error('the link broke'));
  await assert.rejects(stopped, { code: 'unreachable' });

  const removed = branch.unpackGrowing(path, { sizeBytes: octets.length, isRight: never });
  await new Promise((resolve) => setTimeout(resolve, 100));
  await rm(path);
  await assert.rejects(removed, { code: 'unreachable' });

  await writeFile(path, Buffer.concat([octets, Buffer.alloc(1)]));
  await assert.rejects(branch.unpackGrowing(path, { sizeBytes: octets.length, isRight: never }), { code: 'unreachable' });

  await writeFile(path, octets);
  await branch.unpackPart(path);
  assert.equal(await exportOctets(branch, directory, image), hashOf(disk));
});

test('damage in a growing part is found at its frame, before the rest has come', async (t) => {
  const { branch, octets, path } = await prepare(t);
  const damaged = Buffer.from(octets.subarray(0, octets.length - 500_000));
  damaged.writeUInt8(damaged.readUInt8(1_000_000) ^ 1, 1_000_000);
  await writeFile(path, damaged);
  const never = new Promise<void>(() => undefined);
  await assert.rejects(branch.unpackGrowing(path, { sizeBytes: octets.length, isRight: never }), { code: 'bad_data' });
  assert.equal((await branch.stats()).chunks, 0);
});
