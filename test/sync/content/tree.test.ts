import assert from 'node:assert/strict';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { chunkDigest, decodeFrame } from '../../../core/content/frame.ts';
import { readFrames } from '../../../core/content/frame-reader.ts';
import { MAX_META_CHARACTERS } from '../../../core/content/limits.ts';
import { parseRoot } from '../../../core/content/manifest.ts';
import { readExtents } from '../../../core/content/page-tree.ts';
import type { ContentStore } from '../../../core/content-store.ts';
import type { Digest } from '../../../core/ids.ts';
import { gptDisk, noise } from '../../core/content/make-disk.ts';
import { importOctets, openedStore, readAll, temporaryDirectory } from './fixtures.ts';

const FILES: Record<string, Buffer> = {
  vmlinuz: noise(1, 3_000_001),
  'boot/initrd.img': Buffer.concat([noise(2, 700_000), Buffer.alloc(900_000), noise(3, 10)]),
  'boot/empty': Buffer.alloc(0),
  'boot/zeros': Buffer.alloc(300_000),
  'z/last': Buffer.from('last'),
};

async function engine(t: TestContext): Promise<{ store: ContentStore; path: string }> {
  const directory = await temporaryDirectory(t);
  const path = join(directory, 'engine');
  for (const [name, octets] of Object.entries(FILES)) {
    await mkdir(join(path, name, '..'), { recursive: true });
    await writeFile(join(path, name), octets);
  }
  return { store: await openedStore(t, join(directory, 'store')), path };
}

test('every file of an engine reads back, with its size, and the meta is in the root', async (t) => {
  const { store, path } = await engine(t);
  const { manifest, kind, sizeBytes } = await store.importTree({ path, kind: 'engine', meta: { version: '7', arch: 'amd64' } });
  assert.equal(kind, 'engine');
  assert.equal(
    sizeBytes,
    Object.values(FILES).reduce((sum, octets) => sum + octets.length, 0),
  );
  for (const [name, octets] of Object.entries(FILES)) {
    const file = await store.openFile(manifest, name);
    assert.equal(file?.sizeBytes, octets.length);
    assert.ok(octets.equals(await readAll(file?.stream ?? assert.fail())), name);
  }
  assert.equal(await store.openFile(manifest, 'nothing'), undefined);
  const root = parseRoot(await store.readRoot(manifest));
  assert.deepEqual(root.kind === 'disk' ? undefined : root.meta, { version: '7', arch: 'amd64' });
  assert.equal((await store.importTree({ path, kind: 'engine', meta: { version: '7', arch: 'amd64' } })).manifest, manifest);
  assert.deepEqual((await store.verifyImage(manifest)).damages, []);
});

test('an engine replicates like any image', async (t) => {
  const { store, path } = await engine(t);
  const { manifest } = await store.importTree({ path, kind: 'engine' });
  const branch = await openedStore(t, join(await temporaryDirectory(t), 'branch'));
  const archive = await store.buildArchive({ have: [], want: [manifest] });
  for (const part of archive.parts) await branch.unpackPart(join(archive.directory, part.name));
  assert.deepEqual((await branch.missingOf([manifest])).complete, [manifest]);
  const file = await branch.openFile(manifest, 'vmlinuz');
  assert.ok(FILES['vmlinuz']?.equals(await readAll(file?.stream ?? assert.fail())));
  assert.equal((await branch.gc({ roots: [manifest], graceMs: 0, dryRun: false })).freedChunks, 0);
});

test('a tree with a link, or without any file, is refused', async (t) => {
  const { store, path } = await engine(t);
  await symlink('/etc/passwd', join(path, 'link'));
  await assert.rejects(store.importTree({ path, kind: 'engine' }), { code: 'bad_data' });
  const empty = await temporaryDirectory(t);
  await assert.rejects(store.importTree({ path: empty, kind: 'tree' }), { code: 'bad_data' });
});

test('a stream that is given up lets the store go on, and a disk has no files', async (t) => {
  const { store, path } = await engine(t);
  const { manifest } = await store.importTree({ path, kind: 'engine' });
  const file = await store.openFile(manifest, 'vmlinuz');
  const reader = file?.stream.getReader() ?? assert.fail();
  await reader.read();
  await reader.cancel();
  assert.equal((await store.gc({ roots: [], graceMs: 0, dryRun: false })).keptBytes, 0, 'nothing is held any more');
  const disk = await importOctets(store, await temporaryDirectory(t), gptDisk(4, 1));
  await assert.rejects(store.openFile(disk, 'vmlinuz'), { code: 'bad_data' });
});

test('frames hold the chunks that were asked for, each frame once, readable as an agent reads them', async (t) => {
  const store = await openedStore(t, join(await temporaryDirectory(t), 'store'));
  const disk = gptDisk(16, 3);
  const manifest = await importOctets(store, await temporaryDirectory(t), disk);
  const get = async (digest: Digest): Promise<Buffer> => {
    for await (const { header, payload } of readFrames((await store.readFrames([digest])) as AsyncIterable<Uint8Array>)) {
      for (const chunk of await decodeFrame(header, payload)) if (chunk.digest === digest) return chunk.bytes;
    }
    return assert.fail(`no ${digest}`);
  };
  const root = parseRoot((await get(manifest)).toString());
  const rebuilt = Buffer.alloc(root.sizeBytes);
  const places = new Map<Digest, number[]>();
  for await (const extent of readExtents(root.kind === 'disk' ? root.tree : assert.fail(), get)) {
    if (extent.kind === 'data') places.set(extent.digest, [...(places.get(extent.digest) ?? []), extent.offset]);
  }
  const seen = new Set<string>();
  for await (const { header, payload, octets } of readFrames((await store.readFrames([...places.keys()])) as AsyncIterable<Uint8Array>)) {
    assert.ok(!seen.has(chunkDigest(octets)), 'each frame once');
    seen.add(chunkDigest(octets));
    for (const { digest, bytes } of await decodeFrame(header, payload)) for (const at of places.get(digest) ?? []) bytes.copy(rebuilt, at);
  }
  assert.ok(rebuilt.equals(disk));
  await assert.rejects(store.readFrames([chunkDigest(Buffer.from('unknown'))]), { code: 'not_found' });
});

test('meta is taken as far as it can be read again: a long list of packages is, a longer text is refused', async (t) => {
  const { store, path } = await engine(t);
  const packages = 'p'.repeat(MAX_META_CHARACTERS);
  const { manifest } = await store.importTree({ path, kind: 'engine', meta: { packages } });
  assert.ok(await store.openFile(manifest, 'z/last'));
  await assert.rejects(store.importTree({ path, kind: 'engine', meta: { packages: `${packages}p` } }), { code: 'bad_data' });
});

test('what is no manifest does not verify', async (t) => {
  const { store, path } = await engine(t);
  await store.importTree({ path, kind: 'engine' });
  const { damages } = await store.verifyImage(chunkDigest(FILES['z/last'] ?? assert.fail()));
  assert.equal(damages.length, 1);
  assert.equal(damages[0]?.what, 'manifest');
});

test('a store closes while somebody who reads from it sleeps, and tells him', { timeout: 20_000 }, async (t) => {
  const { store, path } = await engine(t);
  const { manifest } = await store.importTree({ path, kind: 'engine' });
  const file = await store.openFile(manifest, 'vmlinuz');
  const reader = file?.stream.getReader() ?? assert.fail();
  await reader.read();
  await store.close();
  await assert.rejects(async () => {
    while (!(await reader.read()).done);
  });
});
