import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { chunkDigest } from '../../../core/content/frame.ts';
import type { Digest } from '../../../core/ids.ts';
import { createChunkLender } from '../../../sync/content/chunk-lender.ts';
import { openStore, type Store } from '../../../sync/content/store.ts';
import { withWriteSession } from '../../../sync/content/write-session.ts';
import { endInReverse } from '../../helpers/end-in-reverse.ts';
import { temporaryDirectory } from './fixtures.ts';

const CHUNK_BYTES = 250_000;
/** Of one frame. */
const CHUNKS = 5;

/** A store with so many frames, whose chunks come in their order. */
async function stored(t: TestContext, frames: number): Promise<{ readonly store: Store; readonly digests: readonly Digest[] }> {
  const store = await openStore(join(await temporaryDirectory(t), 'store'), new AbortController().signal);
  endInReverse(t, () => store.index.close());
  const digests = await withWriteSession(store, 'writing', async (session) => {
    const put: Digest[] = [];
    for (let chunk = 0; chunk < frames * CHUNKS; chunk++) put.push(await session.put(randomBytes(CHUNK_BYTES), 'data'));
    await session.finish();
    return put;
  });
  return { store, digests };
}

/** The first chunk of a frame, or one of the others. */
const chunkOf = (digests: readonly Digest[], frame: number, chunk = 0): Digest => digests[frame * CHUNKS + chunk] as Digest;

test('a lent chunk is good until it is given back, however much is lent meanwhile; then its memory is free', async (t) => {
  const { store, digests } = await stored(t, 3);
  const { lend } = createChunkLender(store, 1);
  const [one, two] = [await lend(chunkOf(digests, 0)), await lend(chunkOf(digests, 0, 1))];
  for (const frame of [1, 2]) (await lend(chunkOf(digests, frame))).giveBack();
  one.giveBack();
  assert.equal(chunkDigest(two.bytes), chunkOf(digests, 0, 1), 'a neighbour in the same frame is lent still');
  two.giveBack();
  await setImmediate();
  assert.equal(two.bytes.length, 0);
});

test('what was given back is lent again, from memory while its frame is among those used last', async (t) => {
  const { store, digests } = await stored(t, 2);
  const { lend, close } = createChunkLender(store, 1);
  const first = await lend(chunkOf(digests, 0));
  first.giveBack();
  const again = await lend(chunkOf(digests, 0));
  assert.equal(again.bytes.buffer, first.bytes.buffer);
  again.giveBack();
  (await lend(chunkOf(digests, 1))).giveBack();
  assert.equal(first.bytes.length, 0, 'another took its place');
  const last = await lend(chunkOf(digests, 0));
  assert.equal(chunkDigest(last.bytes), chunkOf(digests, 0));
  last.giveBack();
  close();
  await setImmediate();
  assert.equal(last.bytes.length, 0, 'nothing is kept at the end');
});

test('a chunk that is not here is told, and what is lent beside it is not disturbed', async (t) => {
  const { store, digests } = await stored(t, 1);
  const { lend } = createChunkLender(store, 1);
  const held = await lend(chunkOf(digests, 0));
  await assert.rejects(lend(chunkDigest(Buffer.from('unknown'))), { code: 'not_found' });
  assert.equal(chunkDigest(held.bytes), chunkOf(digests, 0));
});
