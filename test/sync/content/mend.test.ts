import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { open, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { chunkDigest, parseFrameHeader } from '../../../core/content/frame.ts';
import type { FoundDamage } from '../../../core/content-store.ts';
import type { Digest } from '../../../core/ids.ts';
import { checkStore } from '../../../sync/content/check.ts';
import { createChunkReader } from '../../../sync/content/chunk-reader.ts';
import { collectGarbage } from '../../../sync/content/gc.ts';
import { openStore, packPath, type Store } from '../../../sync/content/store.ts';
import { withWriteSession } from '../../../sync/content/write-session.ts';
import { endInReverse } from '../../helpers/end-in-reverse.ts';
import { temporaryDirectory } from './fixtures.ts';

const nothing = (): void => undefined;

const incompressible = (n: number): Buffer => createHash('shake256', { outputLength: 40_000 }).update(`${n}`).digest();

type Opened = { readonly store: Store; readonly told: FoundDamage[]; readonly digests: readonly Digest[]; readonly pack: string };

/** A store with one pack of one frame: chunks of text and, with `noisy`, of noise, which stays as it is. */
async function filledStore(t: TestContext, noisy: boolean): Promise<Opened> {
  const told: FoundDamage[] = [];
  const root = join(await temporaryDirectory(t), 'store');
  const store = await openStore(root, new AbortController().signal, { onDamage: (found) => told.push(found) });
  endInReverse(t, () => store.index.close());
  const chunks = Array.from({ length: 8 }, (_, n) => (noisy ? incompressible(n) : Buffer.from(`text number ${n * 7} `.repeat(4000 + n))));
  await withWriteSession(store, 'filling', async (session) => {
    for (const chunk of chunks) await session.put(chunk, 'data');
    await session.finish();
  });
  const [pack = assert.fail()] = store.index.packs();
  return { store, told, digests: chunks.map(chunkDigest), pack: packPath(store.paths, pack.name) };
}

async function flip(path: string, at: (octets: Buffer) => number): Promise<Buffer> {
  const octets = await readFile(path);
  const place = at(octets);
  octets[place] = (octets[place] ?? 0) ^ 4;
  // In place: a reader that has the file open sees it, as with a disk that rots.
  const file = await open(path, 'r+');
  await file.write(octets, 0, octets.length, 0);
  await file.close();
  return octets;
}

async function readable(store: Store, digests: readonly Digest[]): Promise<boolean[]> {
  const get = createChunkReader(store);
  return Promise.all(
    digests.map((digest) =>
      get(digest).then(
        (bytes) => chunkDigest(bytes) === digest,
        () => false,
      ),
    ),
  );
}

test('one flipped bit in a raw payload costs one chunk: it is put aside, told once, and the rest of its frame is saved', async (t) => {
  const { store, told, digests, pack } = await filledStore(t, true);
  const octets = await flip(pack, (all) => parseFrameHeader(all).headerBytes + 3 * 40_000 + 7);
  assert.deepEqual(await readable(store, digests), [true, true, true, false, true, true, true, true]);
  assert.deepEqual(store.index.locate(digests[3] ?? assert.fail()), [], 'nobody is led to it again');
  assert.ok(told.some(({ damages, lost }) => damages.length > 0 && lost.length === 1 && lost[0] === digests[3]));
  const [kept = assert.fail()] = await readdir(store.paths.quarantine);
  assert.ok((await readFile(join(store.paths.quarantine, kept))).equals(octets));
  assert.deepEqual((await checkStore(store, {}, nothing)).damages, []);
});

test('of a damaged compressed payload the chunks before the damage are saved', async (t) => {
  const { store, digests, pack } = await filledStore(t, false);
  await flip(pack, (all) => all.length - 20);
  const after = await readable(store, digests);
  assert.equal(after.at(-1), false);
  assert.ok(after.filter((is) => is).length >= 4, `${after}`);
  assert.deepEqual((await checkStore(store, {}, nothing)).damages, []);
});

test('a broken frame header loses nothing, for the index knows what lies behind it', async (t) => {
  for (const noisy of [true, false]) {
    const { store, told, digests, pack } = await filledStore(t, noisy);
    await flip(pack, () => 70);
    assert.ok((await readable(store, digests)).every((is) => is));
    assert.ok(told.every(({ lost }) => lost.length === 0));
    assert.deepEqual((await checkStore(store, {}, nothing)).damages, []);
  }
});

test('rows that lead astray are written anew from the frames, and a pack under another name is found', async (t) => {
  const { store, told, digests, pack } = await filledStore(t, false);
  const [record = assert.fail()] = store.index.packs();
  const frames = store.index.framesOf(record.name);
  store.index.addPack(
    record,
    frames.map((frame) => ({ ...frame, offset: frame.offset + 1 })),
    record.name,
  );
  assert.ok((await readable(store, digests)).every((is) => is));
  store.index.addPack({ ...record, name: 'no-such-pack' }, frames, record.name);
  assert.ok((await readable(store, digests)).every((is) => is));
  assert.deepEqual(await readFile(pack), await readFile(packPath(store.paths, store.index.packs()[0]?.name ?? '')));
  assert.equal(told.length, 2);
  assert.deepEqual((await checkStore(store, {}, nothing)).damages, []);
});

test('a pack that a writer relies on stays held when it is mended', async (t) => {
  const { store, digests, pack } = await filledStore(t, true);
  const collect = () => collectGarbage(store, { roots: [], graceMs: 0, dryRun: false }, nothing);
  await withWriteSession(store, 'writing', async (session) => {
    await session.put(incompressible(0), 'data');
    await flip(pack, (all) => all.length - 5);
    assert.equal((await readable(store, digests)).at(-1), false);
    await collect();
    assert.ok((await readable(store, digests.slice(0, 7))).every((is) => is));
  });
  await collect();
  assert.deepEqual(store.index.packs(), []);
});

test('a store in which nobody listens for damage changes nothing', async (t) => {
  const { store, digests, pack } = await filledStore(t, true);
  const before = await flip(pack, (all) => all.length - 5);
  const silent = { ...store, onDamage: undefined };
  assert.equal(
    (await readable(silent, digests)).some((is) => is),
    false,
  );
  assert.ok((await readFile(pack)).equals(before));
  await writeFile(pack, before);
});
