import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { chunkDigest } from '../../../core/content/frame.ts';
import type { Digest } from '../../../core/ids.ts';
import { createBaseReader } from '../../../sync/content/base-reader.ts';
import { openStore, packPath, type Store } from '../../../sync/content/store.ts';
import { withWriteSession } from '../../../sync/content/write-session.ts';
import { endInReverse } from '../../helpers/end-in-reverse.ts';
import { temporaryDirectory } from './fixtures.ts';

const CHUNK_BYTES = 50_000;

type Stored = { readonly store: Store; readonly path: string; readonly first: Digest; readonly second: Digest };

/** A store with one pack of one frame of two chunks, which lie in it as they are. */
async function stored(t: TestContext): Promise<Stored> {
  const store = await openStore(join(await temporaryDirectory(t), 'store'), new AbortController().signal);
  endInReverse(t, () => store.index.close());
  const [first, second] = await withWriteSession(store, 'writing', async (session) => {
    const digests = [await session.put(randomBytes(CHUNK_BYTES), 'data'), await session.put(randomBytes(CHUNK_BYTES), 'data')] as const;
    await session.finish();
    return digests;
  });
  return { store, path: packPath(store.paths, store.index.packs()[0]?.name ?? ''), first, second };
}

test('what is expected of a frame is held from its first reading until it is done with, as often as it was expected', async (t) => {
  const { store, path, first, second } = await stored(t);
  const bases = createBaseReader(store);
  bases.expect([first, second]);
  bases.expect([second]);
  assert.equal(chunkDigest(await bases.get(first)), first);
  await rename(path, `${path}.away`);
  bases.done([first, second]);
  const held = await bases.get(second);
  assert.equal(chunkDigest(held), second);
  bases.done([second]);
  assert.equal(held.length, 0, 'its memory is given back');
});

test('a damaged base chunk is told by who checks, its neighbours are given; what lies there is given by who does not', async (t) => {
  const { store, path, first, second } = await stored(t);
  const file = await open(path, 'r+');
  await file.write(Buffer.from('damage'), 0, 6, (await file.stat()).size - 9);
  await file.close();
  const bases = createBaseReader(store);
  bases.expect([first, second]);
  assert.notEqual(chunkDigest(await bases.get(second)), second);
  assert.equal(chunkDigest(await bases.getChecked(first)), first);
  for (let time = 0; time < 2; time++) await assert.rejects(bases.getChecked(second), { code: 'corrupt' });
});
