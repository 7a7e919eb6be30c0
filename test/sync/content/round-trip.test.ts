import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { Imported } from '../../../core/content-store.ts';
import { fill, gptDisk, noise, writeMbr } from '../../core/content/make-disk.ts';
import { importOctets, openedStore, run, sha256, temporaryDirectory, writeSparse } from './fixtures.ts';

const MIB = 1024 * 1024;

/** Imports `path`, exports it again, and expects the octets of `original`. */
async function roundTrip(t: TestContext, directory: string, path: string, original: string): Promise<Imported> {
  const store = await openedStore(t, join(directory, 'store'));
  const imported = await store.importDisk({ path });
  const out = join(directory, 'out.img');
  await store.exportDisk(imported.manifest, out);
  assert.equal(await sha256(out), await sha256(original));
  const report = await store.check();
  assert.deepEqual(report.damages, []);
  assert.ok((await stat(out)).blocks * 512 < imported.usedBytes + 2 * MIB, 'zeros are holes');
  return imported;
}

async function rawDisk(t: TestContext, disk: Buffer): Promise<{ directory: string; path: string }> {
  const directory = await temporaryDirectory(t);
  const path = join(directory, 'disk.img');
  await writeSparse(path, disk);
  return { directory, path };
}

function mbrDisk(): Buffer {
  const disk = Buffer.alloc(24 * MIB);
  writeMbr(disk, [
    { type: 0x83, start: 2048, sectors: 8191, active: true },
    { type: 0x05, start: 12_288, sectors: 36_864 },
  ]);
  writeMbr(disk, [{ type: 0x83, start: 63, sectors: 16_001 }], 12_288 * 512);
  Buffer.from([0xeb, 0x63, 0x90]).copy(disk);
  fill(disk, MIB, MIB + 8191 * 512, 1);
  fill(disk, (12_288 + 63) * 512, (12_288 + 63 + 16_001) * 512, 2);
  return disk;
}

test('a raw GPT disk comes back bit for bit, with its layout', async (t) => {
  const { directory, path } = await rawDisk(t, gptDisk(24, 1));
  const { disk, sizeBytes, kind } = await roundTrip(t, directory, path, path);
  assert.equal(kind, 'disk');
  assert.equal(sizeBytes, 24 * MIB);
  assert.deepEqual(
    [disk?.sectorSize, disk?.partitionTable.scheme, disk?.partitionTable.partitions.length, disk?.bootType],
    [512, 'gpt', 2, 'uefi'],
  );
});

test('a raw GPT disk with sectors of 4096 octets comes back bit for bit', async (t) => {
  const { directory, path } = await rawDisk(t, gptDisk(16, 2, 4096));
  const { disk } = await roundTrip(t, directory, path, path);
  assert.equal(disk?.sectorSize, 4096);
});

test('an MBR disk with a logical partition, blocks off the 4 KiB grid, comes back bit for bit', async (t) => {
  const { directory, path } = await rawDisk(t, mbrDisk());
  const { disk } = await roundTrip(t, directory, path, path);
  assert.deepEqual([disk?.partitionTable.scheme, disk?.partitionTable.partitions.map(({ number }) => number)], ['mbr', [1, 5]]);
  assert.equal(disk?.bootType, 'bios');
});

test('a layout made by sfdisk is read as sfdisk reads it', async (t) => {
  const directory = await temporaryDirectory(t);
  const path = join(directory, 'disk.img');
  await writeFile(path, '');
  await truncate(path, 64 * MIB);
  run(
    'sfdisk',
    ['-q', path],
    'label: gpt\nsize=8M,type=uefi,name="EFI System"\nsize=1M,type=21686148-6449-6E6F-744E-656564454649\nsize=20M,type=linux,attrs=LegacyBIOSBootable\n',
  );
  const truth = JSON.parse(run('sfdisk', ['--json', path])) as {
    partitiontable: { partitions: { start: number; size: number; type: string }[] };
  };
  const store = await openedStore(t, join(directory, 'store'));
  const { disk } = await store.importDisk({ path });
  assert.deepEqual(
    disk?.partitionTable.partitions.map(({ startBytes, sizeBytes, type }) => ({
      start: startBytes / 512,
      size: sizeBytes / 512,
      type: type.toUpperCase(),
    })),
    truth.partitiontable.partitions.map(({ start, size, type }) => ({ start, size, type })),
  );
});

test('.gz and .zst give the same image as the raw disk, also in several frames', async (t) => {
  const { directory, path } = await rawDisk(t, gptDisk(16, 3));
  const raw = await roundTrip(t, directory, path, path);
  const store = await openedStore(t, join(directory, 'store-2'));
  const octets = await readFile(path);
  await writeFile(`${path}.gz`, gzipSync(octets, { level: 1 }));
  run('zstd', ['-q', path]);
  const half = octets.length / 2;
  const frames = [octets.subarray(0, half), octets.subarray(half)].map((piece) =>
    execFileSync('zstd', ['-q', '-c', '--long=20'], { input: piece, maxBuffer: 64 * MIB }),
  );
  const skippable = Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
  await writeFile(`${path}.two.zst`, Buffer.concat([frames[0] ?? noise(1, 1), skippable, frames[1] ?? noise(1, 1)]));
  for (const tail of ['gz', 'zst', 'two.zst'])
    assert.equal((await store.importDisk({ path: `${path}.${tail}` })).manifest, raw.manifest, tail);
  assert.equal((await store.stats()).packs, 1, 'nothing was stored twice');
});

test('a compressed disk with logical partitions, whose chain lies behind its start, is the same image', async (t) => {
  const { directory, path } = await rawDisk(t, mbrDisk());
  const raw = await roundTrip(t, directory, path, path);
  run('zstd', ['-q', path]);
  const store = await openedStore(t, join(directory, 'store'));
  assert.equal((await store.importDisk({ path: `${path}.zst` })).manifest, raw.manifest);
});

test('qcow2 gives the same image as the raw disk', async (t) => {
  const { directory, path } = await rawDisk(t, gptDisk(16, 4));
  const raw = await roundTrip(t, directory, path, path);
  run('qemu-img', ['convert', '-O', 'qcow2', '-c', path, `${path}.qcow2`]);
  const store = await openedStore(t, join(directory, 'store'));
  assert.equal((await store.importDisk({ path: `${path}.qcow2` })).manifest, raw.manifest);
});

test('a second version stores only what is new', async (t) => {
  const disk = gptDisk(32, 5);
  const { directory, path } = await rawDisk(t, disk);
  const first = await roundTrip(t, directory, path, path);
  noise(99, 4096).copy(disk, 10 * MIB);
  await writeSparse(path, disk);
  const store = await openedStore(t, join(directory, 'store'));
  const second = await store.importDisk({ path });
  assert.notEqual(second.manifest, first.manifest);
  assert.ok(second.storedBytes < 600_000, `${second.storedBytes} bytes for one changed block`);
  assert.equal((await store.importDisk({ path })).storedBytes, 0, 'and nothing the third time');
});

test('progress rises to the end', async (t) => {
  const { directory, path } = await rawDisk(t, gptDisk(24, 6));
  const store = await openedStore(t, join(directory, 'store'));
  const seen: number[] = [];
  await store.importDisk({ path }, (done, total) => {
    assert.equal(total, 24 * MIB);
    seen.push(done);
  });
  assert.ok(seen.length >= 1);
  assert.deepEqual(
    seen,
    [...seen].sort((a, b) => a - b),
  );
});

test('an export never takes the place of something that is no file', async (t) => {
  const directory = await temporaryDirectory(t);
  const store = await openedStore(t, join(directory, 'store'));
  const manifest = await importOctets(store, directory, gptDisk(4, 1));
  const path = join(directory, 'pipe');
  run('mkfifo', [path]);
  await assert.rejects(store.exportDisk(manifest, path), { code: 'bad_data' });
  assert.ok((await stat(path)).isFIFO());
});
