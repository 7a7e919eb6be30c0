import assert from 'node:assert/strict';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { chunkDigest } from '../../../core/content/frame.ts';
import type { ContentStore } from '../../../core/content-store.ts';
import type { Digest } from '../../../core/ids.ts';
import { collectGarbage } from '../../../sync/content/gc.ts';
import { importDisk } from '../../../sync/content/import-disk.ts';
import { missingOf } from '../../../sync/content/missing.ts';
import { openStore } from '../../../sync/content/store.ts';
import { withWriteSession } from '../../../sync/content/write-session.ts';
import { gptDisk, noise, random } from '../../core/content/make-disk.ts';
import { endInReverse } from '../../helpers/end-in-reverse.ts';
import { exportOctets, hashOf, importOctets, openedStore, temporaryDirectory, writeSparse } from './fixtures.ts';

const MIB = 1024 * 1024;
const NOW = { graceMs: 0, dryRun: false };

async function emptyStore(t: TestContext): Promise<{ directory: string; store: ContentStore }> {
  const directory = await temporaryDirectory(t);
  return { directory, store: await openedStore(t, join(directory, 'store')) };
}

/** Versions of one disk: each changes a stretch of the one before. */
function versionsOf(seed: number, count: number): Buffer[] {
  const next = random(seed);
  const disks = [gptDisk(12, seed)];
  while (disks.length < count) {
    const disk = Buffer.from(disks.at(-1) ?? assert.fail());
    noise(seed + disks.length, (1 + next(3)) * MIB).copy(disk, (3 + next(6)) * MIB);
    disks.push(disk);
  }
  return disks;
}

test('what no root needs goes, what a root needs stays, and a dry run changes nothing', async (t) => {
  const { directory, store } = await emptyStore(t);
  const [first, second] = [gptDisk(8, 1), gptDisk(8, 50)];
  const one = await importOctets(store, directory, first);
  const two = await importOctets(store, directory, second);
  // What others do on this file system is no change of the store.
  const figures = async () => ({ ...(await store.stats()), freeBytes: 0 });
  const before = await figures();
  const dry = await store.gc({ roots: [two], graceMs: 0, dryRun: true });
  assert.deepEqual(await figures(), before);
  const done = await store.gc({ roots: [two], ...NOW });
  assert.equal(done.freedChunks, dry.freedChunks);
  assert.ok(done.freedBytes > 0 && Math.abs(done.freedBytes - dry.freedBytes) < 200_000);
  await assert.rejects(store.readRoot(one), { code: 'not_found' });
  assert.equal(await exportOctets(store, directory, two), hashOf(second));
  assert.deepEqual((await store.check()).damages, []);
  await store.gc({ roots: [], ...NOW });
  assert.deepEqual(await readdir(join(directory, 'store', 'packs')), []);
});

test('of two collections at once one works, the other says that it is busy, and nothing fails', async (t) => {
  const { directory, store } = await emptyStore(t);
  for (const seed of [1, 50, 90]) await importOctets(store, directory, gptDisk(8, seed));
  const [first, second] = await Promise.allSettled([store.gc({ roots: [], ...NOW }), store.gc({ roots: [], ...NOW })]);
  assert.equal(first.status, 'fulfilled');
  assert.equal(second.status === 'rejected' && second.reason.code, 'busy');
  assert.equal((await store.gc({ roots: [], ...NOW })).freedChunks, 0);
});

test('packs that an unfinished writer filled stay, however old they look and though nobody names them yet', async (t) => {
  const directory = await temporaryDirectory(t);
  const store = await openStore(join(directory, 'store'), new AbortController().signal, { packBytes: 2 * MIB });
  endInReverse(t, () => store.index.close());
  const collect = () => collectGarbage(store, { roots: [], ...NOW }, () => undefined);
  const pieces = Array.from({ length: 40 }, (_, index) => noise(index, 200_000));
  await withWriteSession(store, 'writing', async (session) => {
    for (const piece of pieces) {
      await session.put(piece, 'data');
      await collect();
    }
    await session.finish();
    await collect();
    assert.ok(store.index.packs().length > 2, 'several packs were filled on the way');
    for (const piece of pieces) assert.ok(store.index.has(chunkDigest(piece)));
  });
  await collect();
  assert.deepEqual(store.index.packs(), [], 'the writer has ended');
});

test('an image that is found to be whole while a collection is under way, and is to stay, is still whole behind it', async (t) => {
  const directory = await temporaryDirectory(t);
  const store = await openStore(join(directory, 'store'), new AbortController().signal);
  endInReverse(t, () => store.index.close());
  await withWriteSession(store, 'writing', async (session) => {
    await session.put(noise(7, 200_000), 'data');
    await session.finish();
  });
  const path = join(directory, 'disk.img');
  await writeFile(path, gptDisk(8, 1));
  const { manifest } = await importDisk(store, { path }, () => undefined);
  // Nobody names it, as one that a narrower scope gave up. Then a run wants it again, behind the first pack that goes.
  let asking: ReturnType<typeof missingOf> | undefined;
  const collect = () =>
    collectGarbage(store, { roots: [], ...NOW }, () => {
      asking ??= missingOf(store, [manifest], { areToStay: true });
    });
  await collect();
  assert.deepEqual((await asking)?.complete, [manifest], 'it was told to be here');
  assert.deepEqual((await missingOf(store, [manifest])).complete, [manifest]);
  await collect();
  assert.deepEqual((await missingOf(store, [manifest])).complete, [manifest], 'nor does the next one take it, before it is published');
});

test('content younger than the grace stays', async (t) => {
  const { directory, store } = await emptyStore(t);
  const one = await importOctets(store, directory, gptDisk(6, 1));
  assert.equal((await store.gc({ roots: [], graceMs: 3_600_000, dryRun: false })).freedChunks, 0);
  assert.deepEqual((await store.missingOf([one])).complete, [one]);
});

test('whatever versions are kept and in whatever order, every kept one comes back bit for bit', async (t) => {
  const { directory, store } = await emptyStore(t);
  const disks = versionsOf(5, 5);
  const manifests: Digest[] = [];
  for (const disk of disks) manifests.push(await importOctets(store, directory, disk));
  for (const kept of [[0, 2, 4], [2, 4], [4]]) {
    await store.gc({ roots: kept.map((index) => manifests[index] ?? assert.fail()), ...NOW });
    for (const index of kept) {
      assert.equal(await exportOctets(store, directory, manifests[index] ?? assert.fail()), hashOf(disks[index] ?? assert.fail()));
    }
    assert.deepEqual((await store.check()).damages, []);
  }
});

test('a pack that is mostly unwanted is rewritten and the rest of it freed', async (t) => {
  const { directory, store } = await emptyStore(t);
  const [first, second] = [gptDisk(24, 7), gptDisk(24, 7)];
  second.fill(0, 8 * MIB, 23 * MIB);
  await importOctets(store, directory, first);
  const kept = await importOctets(store, directory, second);
  const before = (await store.stats()).storedBytes;
  const report = await store.gc({ roots: [kept], ...NOW });
  assert.equal(report.rewrittenPacks, 1);
  assert.ok((await store.stats()).storedBytes < before * 0.6);
  assert.equal(await exportOctets(store, directory, kept), hashOf(second));
  assert.deepEqual((await store.check()).damages, []);
});

test('collecting while imports and an export run takes nothing that they need', async (t) => {
  const { directory, store } = await emptyStore(t);
  const disks = versionsOf(9, 4);
  const old = await importOctets(store, directory, disks[0] ?? assert.fail());
  const paths = disks.map((_, index) => join(directory, `v${index}.img`));
  await Promise.all(disks.map((disk, index) => writeSparse(paths[index] ?? '', disk)));
  let running = true;
  const collecting = (async () => {
    let rounds = 0;
    for (; running; rounds++) await store.gc({ roots: [], ...NOW });
    return rounds;
  })();
  const imports = paths.map(async (path, index) => {
    const { manifest } = await store.importDisk({ path });
    // Named as a root by nobody: the export itself holds it, or it was collected before the export began.
    const out = await exportOctets(store, directory, manifest).catch((error: Error & { code: string }) => error.code);
    assert.ok(out === 'not_found' || out === hashOf(disks[index] ?? assert.fail()), out);
  });
  await Promise.all(imports);
  running = false;
  assert.ok((await collecting) > 0);
  assert.deepEqual((await store.check()).damages, []);
  const again = await store.importDisk({ path: paths[0] ?? '' });
  assert.equal(again.manifest, old);
  assert.equal(await exportOctets(store, directory, old), hashOf(disks[0] ?? assert.fail()));
});

const HOUR = 3_600_000;

test('after the clock jumped ahead nothing goes for as long as the grace, in this process and the next, and then it does', async (t) => {
  const directory = await temporaryDirectory(t);
  const time = { jump: 0, passed: 0, boot: 'first' };
  const clocks = { wall: () => Date.now() + time.jump + time.passed, up: () => performance.now() + time.passed, boot: () => time.boot };
  const opened = () => openStore(join(directory, 'store'), new AbortController().signal, { clocks });
  let store = await opened();
  endInReverse(t, () => store.index.close());
  const put = () =>
    withWriteSession(store, 'writing', async (session) => {
      await session.put(noise(1, 200_000), 'data');
      await session.finish();
    });
  const collect = () => collectGarbage(store, { roots: [], graceMs: 24 * HOUR, dryRun: false }, () => undefined);
  await put();
  time.jump = 72 * HOUR;
  const held = await collect();
  assert.equal(held.freedChunks, 0);
  assert.ok((held.waitMs ?? 0) > 23 * HOUR, `${held.waitMs}`);
  store.index.close();
  store = await opened();
  time.passed += 20 * HOUR;
  assert.equal((await collect()).freedChunks, 0, 'the next process knows');
  time.passed += 5 * HOUR;
  assert.equal((await collect()).freedChunks, 1);
  await put();
  store.index.close();
  Object.assign(time, { boot: 'second', jump: 144 * HOUR });
  store = await opened();
  assert.equal((await collect()).waitMs, undefined, 'a machine that was off for days has no writer left');
});

test('what an image holds alone is what its going frees', async (t) => {
  const { directory, store } = await emptyStore(t);
  const [first = assert.fail(), second = assert.fail()] = versionsOf(3, 2);
  const one = await importOctets(store, directory, first);
  const two = await importOctets(store, directory, second);
  const [weight = assert.fail()] = await store.weigh([one], [two]);
  const { freedBytes } = await store.gc({ roots: [two], graceMs: 0, dryRun: true });
  assert.ok(weight.bytes > 0);
  const alone = (await store.weigh([one], []))[0]?.bytes ?? 0;
  assert.ok(alone > 2 * weight.bytes, `${alone}`);
  // Packs that are mostly wanted are left as they are, so a collection may free less.
  assert.ok(freedBytes <= weight.bytes * 1.05, `${freedBytes} of ${weight.bytes}`);
  assert.deepEqual(await store.weigh([one], [one]), [{ manifest: one, bytes: 0 }]);
});
