import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeSides, serve, waystation } from '../../bench/memory/sides.ts';
import { type Peaks, watchMemory } from '../../bench/memory/watch.ts';
import { writeMbr } from '../core/content/make-disk.ts';
import { temporaryDirectory } from '../sync/content/fixtures.ts';

const MIB = 1024 * 1024;
const DISK_BYTES = 6 * 1024 * MIB;
const PIECES = 48;
const MOST_BYTES = 300_000_000;

/** A sparse disk of 6 GiB with 48 MiB of data that does not compress, a MiB here and a MiB there. */
async function writeDisk(path: string): Promise<void> {
  const head = Buffer.alloc(MIB);
  writeMbr(head, [{ type: 0x83, start: 2048, sectors: DISK_BYTES / 512 - 2048 }]);
  const file = await open(path, 'w');
  await file.write(head, 0, MIB, 0);
  for (let n = 0; n < PIECES; n++) await file.write(randomBytes(MIB), 0, MIB, placeOf(n));
  await file.truncate(DISK_BYTES);
  await file.close();
}

/** Some octets of every piece change, so that all of it is coded against what was there. */
async function changeDisk(file: FileHandle): Promise<void> {
  for (let n = 0; n < PIECES; n++) for (let at = 0; at < MIB; at += 50_000) await file.write(randomBytes(64), 0, 64, placeOf(n) + at);
  await file.close();
}

const placeOf = (piece: number): number => MIB + piece * 120 * MIB;

/** The promise is 300 MB for 20 GiB of disk, measured by `make bench-memory`; this holds it for what fits in half a minute. */
test('a server with all that it starts takes less than 300 MB, whether it imports, gives or takes an image', async (t) => {
  const directory = await temporaryDirectory(t);
  const disk = join(directory, 'disk.raw');
  await writeDisk(disk);
  const hq = await makeSides(directory);
  t.after(() => hq.stop());
  const branch = await serve(directory, 'branch');
  t.after(() => branch.stop());
  const watches = { hq: watchMemory(hq.pid), branch: watchMemory(branch.pid) };
  t.after(() => {
    for (const watch of Object.values(watches)) watch.stop();
  });
  const judge = (phase: string) => {
    for (const [side, watch] of Object.entries(watches)) {
      const { together, programs } = watch.peaks();
      t.diagnostic(`${phase}, ${side}: ${describe({ together, programs })}`);
      assert.ok(together > 50_000_000 && together < MOST_BYTES, `${phase}, ${side}: ${describe({ together, programs })}`);
      watch.restart();
    }
  };
  const replicate = async () => {
    const { state } = await waystation<{ state: string }>(directory, 'branch', ['sync', 'run', '--wait']);
    assert.equal(state, 'done');
  };
  await waystation(directory, 'hq', ['image', 'import', disk, '--name', 'disk']);
  judge('import');
  await replicate();
  judge('first replication');
  await changeDisk(await open(disk, 'r+'));
  await waystation(directory, 'hq', ['image', 'import', disk, '--name', 'disk']);
  await replicate();
  judge('update');
});

function describe({ together, programs }: Peaks): string {
  const mb = (bytes: number) => Math.round(bytes / 1e6);
  return `${mb(together)} MB (${[...programs].map(([name, bytes]) => `${name} ${mb(bytes)}`).join(', ')})`;
}
