import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { makeSides, type Served, serve, waystation } from '../../bench/memory/sides.ts';
import { type Peaks, watchMemory } from '../../bench/memory/watch.ts';
import { writeMbr } from '../core/content/make-disk.ts';
import { endInReverse } from '../helpers/end-in-reverse.ts';
import { run, temporaryDirectory } from '../sync/content/fixtures.ts';

const MIB = 1024 * 1024;
const DISK_BYTES = 6 * 1024 * MIB;
/** With what a server takes when it does nothing, more than it may take at all: nothing can hold all of it. */
const PIECES = 160;
/** So many of them change. */
const CHANGED = 40;
const MOST_BYTES = 300_000_000;

/** A sparse disk of 6 GiB with 160 MiB of data that does not compress, a MiB here and a MiB there. */
async function writeDisk(path: string): Promise<void> {
  const head = Buffer.alloc(MIB);
  writeMbr(head, [{ type: 0x83, start: 2048, sectors: DISK_BYTES / 512 - 2048 }]);
  const file = await open(path, 'w');
  await file.write(head, 0, MIB, 0);
  for (let n = 0; n < PIECES; n++) await file.write(randomBytes(MIB), 0, MIB, placeOf(n));
  await file.truncate(DISK_BYTES);
  await file.close();
}

/** Some octets of every fourth piece change, so that all of it is coded against what was there. */
async function changeDisk(file: FileHandle): Promise<void> {
  for (let n = 0; n < PIECES; n += PIECES / CHANGED)
    for (let at = 0; at < MIB; at += 50_000) await file.write(randomBytes(64), 0, 64, placeOf(n) + at);
  await file.close();
}

const placeOf = (piece: number): number => MIB + piece * 38 * MIB;

type Judge = (phase: string) => void;

/** Asks of both sides that they took less than they may since they were asked last. */
function judgeSides(t: TestContext, sides: Readonly<Record<string, Served>>): Judge {
  const watches = Object.entries(sides).map(([side, { pid }]) => ({ side, watch: watchMemory(pid) }));
  endInReverse(t, () => {
    for (const { watch } of watches) watch.stop();
  });
  return (phase) => {
    for (const { side, watch } of watches) {
      const words = `${phase}, ${side}: ${describe(watch.peaks())}`;
      t.diagnostic(words);
      const { together } = watch.peaks();
      assert.ok(together > 50_000_000 && together < MOST_BYTES, words);
      watch.restart();
    }
  };
}

function describe({ together, programs }: Peaks): string {
  const mb = (bytes: number) => Math.round(bytes / 1e6);
  return `${mb(together)} MB (${[...programs].map(([name, bytes]) => `${name} ${mb(bytes)}`).join(', ')})`;
}

/** The promise is 300 MB for 20 GiB of disk, measured by `make bench-memory`; this holds it for what fits in half a minute. */
test('a server with all that it starts takes less than 300 MB, whether it imports, gives, takes or exports an image', async (t) => {
  const directory = await temporaryDirectory(t);
  const [disk, out] = [join(directory, 'disk.raw'), join(directory, 'out.raw')];
  await writeDisk(disk);
  const hq = await makeSides(directory);
  endInReverse(t, () => hq.stop());
  const branch = await serve(directory, 'branch');
  endInReverse(t, () => branch.stop());
  const judge = judgeSides(t, { hq, branch });
  const importDisk = () => waystation<{ usedBytes: number }>(directory, 'hq', ['image', 'import', disk, '--name', 'disk']);
  const replicate = async () => {
    const { state } = await waystation<{ state: string }>(directory, 'branch', ['sync', 'run', '--wait']);
    assert.equal(state, 'done');
  };
  const { usedBytes } = await importDisk();
  assert.ok(usedBytes >= PIECES * MIB && usedBytes <= (PIECES + 1) * MIB, `holes cost nothing: ${usedBytes} bytes used`);
  judge('import');
  await replicate();
  judge('first replication');
  await changeDisk(await open(disk, 'r+'));
  await importDisk();
  judge('import of the successor');
  await replicate();
  judge('update');
  await waystation(directory, 'branch', ['image', 'export', 'disk', '--out', out]);
  judge('export');
  for (const piece of [0, 1, CHANGED, PIECES - 1]) run('cmp', ['-n', String(2 * MIB), '-i', String(placeOf(piece)), disk, out]);
});
