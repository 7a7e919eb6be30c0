import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Digest } from '../../../core/ids.ts';
import { gptDisk, random } from '../../core/content/make-disk.ts';
import { howMany } from '../../helpers/how-many.ts';
import { exportOctets, hashOf, leftovers, openedStore, temporaryDirectory, writeSparse } from './fixtures.ts';

/** Kills per kind of work; SEED repeats a run. */
const KILLS = howMany({ sample: 4, full: 200 });
const SEED = Number(process.env['SEED'] ?? 7);

/** Starts the work in a process of its own and kills it some milliseconds later. True when it died before it was done. */
async function killDuring(args: readonly string[], delayMs: number): Promise<boolean> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'store-child.ts'), ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  await Promise.race([once(child.stdout, 'data'), exited]);
  await Promise.race([sleep(delayMs), exited]);
  child.kill('SIGKILL');
  const [, signal] = (await exited) as [number | null, string | null];
  return signal === 'SIGKILL';
}

type Work = {
  readonly root: string;
  readonly args: readonly string[];
  readonly manifest: Digest;
  readonly sum: string;
  readonly repeat: (store: Awaited<ReturnType<typeof openedStore>>) => Promise<unknown>;
};

/** Kills again and again: what is there afterwards is whole, nothing temporary is left, and the next run completes. */
async function surviveKills(t: TestContext, work: Work): Promise<void> {
  const next = random(SEED);
  const directory = await temporaryDirectory(t);
  let died = 0;
  for (let round = 0; round < KILLS; round++) {
    const delayMs = next(500);
    const isDead = await killDuring(work.args, delayMs);
    died += isDead ? 1 : 0;
    const store = await openedStore(t, work.root);
    assert.deepEqual(await leftovers(work.root), [], `after ${delayMs} ms (seed ${SEED})`);
    assert.deepEqual((await store.check()).damages, [], `after ${delayMs} ms (seed ${SEED})`);
    if (round % 2 === 1) {
      await work.repeat(store);
      assert.equal(await exportOctets(store, directory, work.manifest), work.sum);
    }
    await store.close();
    if (round % 2 === 1) await rm(work.root, { recursive: true });
  }
  t.diagnostic(`${died} of ${KILLS} kills landed before the end, seed ${SEED}`);
}

test('a kill at any moment of an import leaves a clean store, and the next import completes', async (t) => {
  const directory = await temporaryDirectory(t);
  const disk = gptDisk(48, 1);
  const path = join(directory, 'disk.img');
  await writeSparse(path, disk);
  const reference = await openedStore(t, join(directory, 'reference'));
  const { manifest } = await reference.importDisk({ path });
  const root = join(directory, 'store');
  await surviveKills(t, { root, args: ['import', root, path], manifest, sum: hashOf(disk), repeat: (store) => store.importDisk({ path }) });
});

test('a kill at any moment of unpacking leaves a clean store, and the next unpacking completes', async (t) => {
  const directory = await temporaryDirectory(t);
  const disk = gptDisk(48, 2);
  const path = join(directory, 'disk.img');
  await writeSparse(path, disk);
  const parent = await openedStore(t, join(directory, 'parent'));
  const { manifest } = await parent.importDisk({ path });
  const archive = await parent.buildArchive({ have: [], want: [manifest] });
  const parts = archive.parts.map(({ name }) => join(archive.directory, name));
  const root = join(directory, 'store');
  await surviveKills(t, {
    root,
    args: ['unpack', root, ...parts],
    manifest,
    sum: hashOf(disk),
    repeat: async (store) => {
      for (const part of parts) await store.unpackPart(part);
    },
  });
});
