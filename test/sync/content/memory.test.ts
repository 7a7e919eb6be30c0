import assert from 'node:assert/strict';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { noise, writeMbr } from '../../core/content/make-disk.ts';
import { run, temporaryDirectory } from './fixtures.ts';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

/** A sparse disk of 6 GiB with 300 MiB of data in pieces all over it. */
async function writeLargeDisk(path: string): Promise<void> {
  const head = Buffer.alloc(MIB);
  writeMbr(head, [{ type: 0x83, start: 2048, sectors: (6 * GIB) / 512 - 2048 }]);
  const file = await open(path, 'w');
  await file.write(head, 0, head.length, 0);
  const piece = noise(1, 3 * MIB);
  for (let index = 0; index < 100; index++) {
    piece.writeUInt32LE(index, 0);
    for (let at = 0; at < piece.length; at += 16_384) piece.writeUInt32LE(index * 7919 + at, at);
    await file.write(piece, 0, piece.length, MIB + index * 60 * MIB);
  }
  await file.truncate(6 * GIB);
  await file.close();
}

test('a disk of 6 GiB is imported and exported in less than 300 MB of memory, its holes at no cost', async (t) => {
  const directory = await temporaryDirectory(t);
  const [path, out] = [join(directory, 'disk.img'), join(directory, 'out.img')];
  await writeLargeDisk(path);
  const text = run(process.execPath, [join(import.meta.dirname, 'memory-child.ts'), join(directory, 'store'), path, out]);
  const { maxRssBytes, usedBytes, importMs } = JSON.parse(text) as { maxRssBytes: number; usedBytes: number; importMs: number };
  assert.ok(usedBytes >= 280 * MIB && usedBytes <= 301 * MIB, `${usedBytes} used`);
  assert.ok(maxRssBytes < 300_000_000, `${maxRssBytes} bytes of memory`);
  t.diagnostic(`${Math.round(maxRssBytes / 1e6)} MB of memory, ${Math.round(importMs)} ms`);
  for (const index of [0, 50, 99]) {
    const piece = (file: string): string => run('cmp', ['-n', String(4 * MIB), '-i', String(MIB + index * 60 * MIB), file, out]);
    assert.equal(piece(path), '');
  }
});

test('an update is coded and unpacked in less than 300 MB of memory on either side', async (t) => {
  const directory = await temporaryDirectory(t);
  const [first, second] = [join(directory, 'first.img'), join(directory, 'second.img')];
  const disk = Buffer.alloc(64 * MIB);
  writeMbr(disk, [{ type: 0x83, start: 2048, sectors: disk.length / 512 - 2048 }]);
  const piece = noise(7, MIB);
  for (let at = MIB; at < disk.length; at += MIB) {
    for (let block = 0; block < MIB; block += 4096) piece.writeUInt32LE(at + block, block);
    piece.copy(disk, at);
  }
  await writeFile(first, disk);
  for (let at = MIB; at < disk.length; at += 50_000) disk.writeUInt32LE(at, at + 100);
  await writeFile(second, disk);
  for (const side of ['master', 'branch']) {
    const child = [process.execPath, join(import.meta.dirname, 'delta-memory-child.ts'), side, directory, first, second];
    // As `waystation` starts its Node.
    const text = run('env', ['MALLOC_MMAP_THRESHOLD_=262144', 'MALLOC_ARENA_MAX=2', ...child]);
    const { maxRssBytes = 0, skipped } = JSON.parse(text) as { maxRssBytes?: number; skipped: number };
    t.diagnostic(`${side}: ${Math.round(maxRssBytes / 1e6)} MB of memory`);
    assert.equal(skipped, 0);
    assert.ok(maxRssBytes > 0 && maxRssBytes < 300_000_000, `${side}: ${maxRssBytes} bytes of memory`);
  }
});
