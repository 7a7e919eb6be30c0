import assert from 'node:assert/strict';
import { open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { FoundDamage, ScrubPosition } from '../../../core/content-store.ts';
import { collectGarbage } from '../../../sync/content/gc.ts';
import { scrubSlice } from '../../../sync/content/scrub.ts';
import { openStore, packPath, type Store } from '../../../sync/content/store.ts';
import { withWriteSession } from '../../../sync/content/write-session.ts';
import { noise } from '../../core/content/make-disk.ts';
import { endInReverse } from '../../helpers/end-in-reverse.ts';
import { temporaryDirectory } from './fixtures.ts';

const KIB = 1024;

/** Some packs of two or three frames. */
async function filledStore(root: string, told: FoundDamage[] = []): Promise<Store> {
  const store = await openStore(root, new AbortController().signal, { packBytes: 1800 * KIB, onDamage: (found) => told.push(found) });
  await withWriteSession(store, 'filling', async (session) => {
    for (let n = 0; n < 60; n++) await session.put(noise(n + 1, 200 * KIB), 'data');
    await session.finish();
  });
  return store;
}

/** A whole pass in slices; gives how much was read, how often, and what was found. */
async function pass(store: Store, maxBytes: number, between: (from: ScrubPosition) => Promise<void> = async () => undefined) {
  const total = { bytes: 0, slices: 0, damages: 0 };
  for (let from: ScrubPosition | null = null; ; ) {
    const slice = await scrubSlice(store, from, maxBytes);
    total.bytes += slice.bytes;
    total.slices += 1;
    total.damages += slice.damages.length;
    if (slice.next === null) return total;
    from = slice.next;
    await between(from);
  }
}

test('a scrub reads every octet once, in slices of the size asked for, and finds nothing in a sound store', async (t) => {
  const store = await filledStore(join(await temporaryDirectory(t), 'store'));
  endInReverse(t, () => store.index.close());
  const bytes = store.index.packs().reduce((sum, pack) => sum + pack.bytes, 0);
  assert.ok(store.index.packs().length > 2);
  const small = await pass(store, 1);
  const large = await pass(store, 2 ** 30);
  assert.deepEqual([small.bytes, large.bytes, small.damages + large.damages], [bytes, bytes, 0]);
  assert.ok(small.slices > large.slices);
});

test('a scrub finds damage wherever it lies, mends it, and goes on; packs that come or go under it do not stop it', async (t) => {
  const told: FoundDamage[] = [];
  const root = join(await temporaryDirectory(t), 'store');
  const store = await filledStore(root, told);
  endInReverse(t, () => store.index.close());
  const [, second = assert.fail(), third = assert.fail()] = store.index.packs();
  const octets = await readFile(packPath(store.paths, second.name));
  const file = await open(packPath(store.paths, second.name), 'r+');
  await file.write(Buffer.from([(octets.at(-9) ?? 0) ^ 1]), 0, 1, octets.length - 9);
  await file.close();
  const total = await pass(store, 300 * KIB, async (from) => {
    if (from.pack !== `${second.name}~`) return;
    // Gone between two slices, as a collection would do it.
    store.index.removePack(third.name);
    await rm(packPath(store.paths, third.name), { force: true });
  });
  assert.ok(total.damages > 0);
  assert.ok(told.some(({ lost }) => lost.length > 0));
  assert.equal((await readdir(store.paths.quarantine)).length, 1);
  assert.equal((await pass(store, 300 * KIB)).damages, 0);
  await collectGarbage(store, { roots: [], graceMs: 0, dryRun: false }, () => undefined);
  assert.deepEqual(await pass(store, 300 * KIB), { bytes: 0, slices: 1, damages: 0 });
});
