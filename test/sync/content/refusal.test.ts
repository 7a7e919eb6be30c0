import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, readlink, rename, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { AppError, ErrorCode } from '../../../core/errors.ts';
import { gptDisk, noise } from '../../core/content/make-disk.ts';
import { orElse } from '../../helpers/or-else.ts';
import { waitUntil } from '../../helpers/wait-until.ts';
import { leftovers, openedStore, run, temporaryDirectory } from './fixtures.ts';

const MIB = 1024 * 1024;

/** Expects the import to be refused in these words and to leave nothing behind. */
async function refuses(t: TestContext, path: string, code: ErrorCode, words: RegExp): Promise<void> {
  const root = join(await temporaryDirectory(t), 'store');
  const store = await openedStore(t, root);
  await assert.rejects(store.importDisk({ path }), (error: AppError) => {
    assert.equal(error.code, code, error.message);
    assert.match(error.message, words);
    return true;
  });
  assert.deepEqual(await leftovers(root), []);
  assert.equal((await store.stats()).packs, 0);
}

async function fileOf(t: TestContext, octets: Buffer | string): Promise<string> {
  const path = join(await temporaryDirectory(t), 'image');
  await writeFile(path, octets);
  return path;
}

test('what is no disk image is refused: text, noise, zeros, nothing, a directory, a missing file, a device that is no disk', async (t) => {
  await refuses(t, await fileOf(t, 'hello '.repeat(1000)), 'bad_data', /not a disk image/);
  await refuses(t, await fileOf(t, noise(1, MIB)), 'bad_data', /not a disk image/);
  await refuses(t, await fileOf(t, Buffer.alloc(MIB)), 'bad_data', /not a disk image/);
  await refuses(t, await fileOf(t, ''), 'bad_data', /empty/);
  await refuses(t, await temporaryDirectory(t), 'bad_data', /neither a file nor a block device/);
  await refuses(t, '/dev/zero', 'bad_data', /neither a file nor a block device/);
  await refuses(t, '/no/such/image', 'not_found', /no file/);
});

test('a size that is no multiple of the sector size is refused', async (t) => {
  await refuses(t, await fileOf(t, Buffer.concat([gptDisk(4, 1), Buffer.alloc(100, 1)])), 'bad_data', /no multiple of the sector size/);
});

test('a raw disk that was cut off is refused by its partition table', async (t) => {
  await refuses(t, await fileOf(t, gptDisk(8, 1).subarray(0, 5 * MIB)), 'bad_data', /cut off: partition 2/);
});

test('.gz and .zst that were cut off or damaged are refused wherever the cut is', async (t) => {
  const disk = gptDisk(6, 2);
  for (const [name, octets] of [
    ['gz', gzipSync(disk, { level: 1 })],
    ['zst', zstdCompressSync(disk)],
  ] as const) {
    for (const part of [0.001, 0.3, 0.9]) {
      await refuses(t, await fileOf(t, octets.subarray(0, Math.ceil(octets.length * part))), 'bad_data', /cut off/);
    }
    await refuses(t, await fileOf(t, octets.subarray(0, octets.length - 1)), 'bad_data', /cut off/);
    const damaged = Buffer.from(octets);
    damaged[Math.floor(octets.length / 2)] = (damaged[Math.floor(octets.length / 2)] ?? 0) ^ 0x55;
    if (name === 'gz') await refuses(t, await fileOf(t, damaged), 'bad_data', /damaged|cut off/);
  }
  await refuses(t, await fileOf(t, Buffer.concat([zstdCompressSync(disk), Buffer.from('tail')])), 'bad_data', /foreign octets/);
});

test('a compressed file that holds no disk is refused', async (t) => {
  await refuses(t, await fileOf(t, gzipSync('hello '.repeat(1000))), 'bad_data', /not a disk image/);
});

test('qcow2 with a backing file, a data file or cut off is refused', async (t) => {
  const directory = await temporaryDirectory(t);
  const base = join(directory, 'base.img');
  await writeFile(base, gptDisk(8, 3));
  const backed = join(directory, 'backed.qcow2');
  run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'raw', backed]);
  await refuses(t, backed, 'bad_data', /backing file/);
  const outside = join(directory, 'outside.qcow2');
  run('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', `data_file=${join(directory, 'data')},data_file_raw=on`, outside, '8M']);
  await refuses(t, outside, 'bad_data', /another file/);
  const whole = join(directory, 'whole.qcow2');
  run('qemu-img', ['convert', '-O', 'qcow2', base, whole]);
  await truncate(whole, Math.floor((await readFile(whole)).length / 2));
  await refuses(t, whole, 'bad_data', /qemu-img|cut off|not a disk/);
});

test('a store that is closed while qemu-img works ends it, and the import with it', async (t) => {
  const directory = await temporaryDirectory(t);
  const store = await openedStore(t, join(directory, 'store'));
  const image = join(directory, 'image.qcow2');
  await writeFile(join(directory, 'base.img'), gptDisk(8, 1));
  run('qemu-img', ['convert', '-O', 'qcow2', join(directory, 'base.img'), image]);
  const importing = assert.rejects(store.importDisk({ path: image }), { code: 'cancelled' });
  const child = await waitUntil('qemu-img runs', findQemuImg, { everyMs: 1, during: importing });
  // As one that has a hundred gigabytes to write.
  process.kill(child, 'SIGSTOP');
  let isClosed = false;
  const closed = Promise.all([store.close(), importing]).then(() => {
    isClosed = true;
  });
  await waitUntil('the store is closed', () => isClosed, { limitMs: 5_000 }).finally(() =>
    orElse(() => process.kill(child, 'SIGKILL'), true),
  );
  await closed;
});

test('a store that is closed while an image is verified does not read it to its end', async (t) => {
  const directory = await temporaryDirectory(t);
  const store = await openedStore(t, join(directory, 'store'));
  await writeFile(join(directory, 'base.img'), gptDisk(64, 1));
  const { manifest } = await store.importDisk({ path: join(directory, 'base.img') });
  await assert.rejects(
    store.verifyImage(manifest, () => void store.close()),
    { code: 'cancelled' },
  );
});

/** The process of a qemu-img that a thread of ours has started. */
async function findQemuImg(): Promise<number | undefined> {
  for (const thread of await readdir('/proc/self/task')) {
    const children = (await readFile(`/proc/self/task/${thread}/children`, 'utf8').catch(() => '')).trim().split(' ');
    for (const child of children)
      if ((await readFile(`/proc/${child}/comm`, 'utf8').catch(() => '')) === 'qemu-img\n') return Number(child);
  }
  return undefined;
}

test('qcow2 without qemu-img on the PATH names the program', async (t) => {
  const directory = await temporaryDirectory(t);
  const image = join(directory, 'image.qcow2');
  await writeFile(join(directory, 'base.img'), gptDisk(4, 3));
  run('qemu-img', ['convert', '-O', 'qcow2', join(directory, 'base.img'), image]);
  const path = process.env['PATH'];
  await mkdir(join(directory, 'empty'));
  process.env['PATH'] = join(directory, 'empty');
  try {
    await refuses(t, image, 'missing_program', /qemu-img/);
  } finally {
    process.env['PATH'] = path;
  }
});

/** What this process has open of a directory. */
async function openFilesBelow(directory: string): Promise<string[]> {
  const names = await readdir('/proc/self/fd');
  const targets = await Promise.all(names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')));
  return targets.filter((target) => target.startsWith(directory));
}

test('a refused .zst is closed again', async (t) => {
  const path = await fileOf(t, zstdCompressSync(noise(1, 8 * MIB)));
  await refuses(t, path, 'bad_data', /not a disk image/);
  await waitUntil('the file is closed', async () => (await openFilesBelow(path)).length === 0, {
    limitMs: 5_000,
    everyMs: 20,
    despiteErrors: true,
  });
});

test('a qcow2 file whose name looks like an address of qemu is a file', async (t) => {
  const directory = await temporaryDirectory(t);
  await writeFile(join(directory, 'disk'), gptDisk(4, 1));
  run('qemu-img', ['convert', '-O', 'qcow2', join(directory, 'disk'), join(directory, 'made')]);
  await rename(join(directory, 'made'), join(directory, 'nbd:localhost:1'));
  const store = await openedStore(t, join(directory, 'store'));
  const before = process.cwd();
  process.chdir(directory);
  t.after(() => process.chdir(before));
  assert.equal((await store.importDisk({ path: 'nbd:localhost:1' })).kind, 'disk');
});

test('a disk with a sector size that no manifest can hold is refused', async (t) => {
  const directory = await temporaryDirectory(t);
  const store = await openedStore(t, join(directory, 'store'));
  const path = join(directory, 'disk');
  await writeFile(path, gptlessDisk());
  await assert.rejects(store.importDisk({ path, sectorSize: 2048 }), { code: 'bad_data' });
});

/** An MBR with one partition. */
function gptlessDisk(): Buffer {
  const disk = Buffer.alloc(MIB);
  disk.set([0x80, 0, 0, 0, 0x83, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0, 0], 446);
  disk.writeUInt16LE(0xaa55, 510);
  return disk;
}
