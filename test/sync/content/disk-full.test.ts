import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { AppError } from '../../../core/errors.ts';
import { gptDisk, noise } from '../../core/content/make-disk.ts';
import { hashOf, leftovers, openedStore, run, sha256, temporaryDirectory, writeSparse } from './fixtures.ts';

const MIB = 1024 * 1024;

/** A small file system: mounted when we may, else a limit on the size of files says "full" the same way. */
async function smallPlace(t: TestContext, megabytes: number): Promise<string | undefined> {
  const directory = await mkdtemp(join(tmpdir(), 'waystation-small-'));
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', directory]);
  const isMounted = mounted.status === 0;
  t.after(async () => {
    if (isMounted) run('umount', ['-l', directory]);
    await rmdir(directory);
  });
  return isMounted ? directory : undefined;
}

function isFull(error: AppError): boolean {
  assert.equal(error.code, 'disk_full', error.message);
  assert.match(error.message, /no space left/);
  assert.ok(error.hint);
  return true;
}

/** Noise that no compressor helps with. */
function bigDisk(): Buffer {
  const disk = gptDisk(64, 1);
  noise(4, 50 * MIB).copy(disk, 5 * MIB);
  return disk;
}

test('a file system that fills up ends an import, an archive, an unpacking and an export with disk_full, and nothing is left behind', async (t) => {
  const outside = await temporaryDirectory(t);
  const [small, big] = [gptDisk(6, 2), bigDisk()];
  const [smallPath, bigPath] = [join(outside, 'small.img'), join(outside, 'big.img')];
  await writeSparse(smallPath, small);
  await writeSparse(bigPath, big);
  const place = await smallPlace(t, 20);
  if (place === undefined) return limitedImport(outside, bigPath);

  const parent = await openedStore(t, join(outside, 'parent'));
  const { manifest: bigManifest } = await parent.importDisk({ path: bigPath });
  const archive = await parent.buildArchive({ have: [], want: [bigManifest] });

  const root = join(place, 'store');
  const store = await openedStore(t, root);
  const { manifest } = await store.importDisk({ path: smallPath });
  const free = (await store.stats()).freeBytes;
  const attempts = [
    () => store.importDisk({ path: bigPath }),
    () => store.unpackPart(join(archive.directory, archive.parts[0]?.name ?? '')),
    () => parent.exportDisk(bigManifest, join(place, 'out.img')),
  ];
  for (const attempt of attempts) {
    await assert.rejects(attempt(), isFull);
    assert.deepEqual(await leftovers(place), []);
    assert.deepEqual((await store.check()).damages, []);
    assert.ok((await store.stats()).freeBytes > free - 2 * MIB, 'the space is free again');
  }
  const out = join(outside, 'out.img');
  await store.exportDisk(manifest, out);
  assert.equal(await sha256(out), hashOf(small));
});

/** Without the right to mount: the same through RLIMIT_FSIZE in a process of its own. */
async function limitedImport(outside: string, path: string): Promise<void> {
  const root = join(outside, 'limited');
  const child = spawnSync(
    'prlimit',
    [`--fsize=${20 * MIB}`, process.execPath, join(import.meta.dirname, 'store-child.ts'), 'import', root, path],
    { encoding: 'utf8' },
  );
  assert.notEqual(child.status, 0);
  assert.match(child.stderr, /disk_full/);
  assert.deepEqual(await leftovers(root), []);
}

test('a file system without room for the archive ends building it with disk_full', async (t) => {
  const outside = await temporaryDirectory(t);
  const path = join(outside, 'disk.img');
  const disk = Buffer.alloc(24 * MIB);
  gptDisk(24, 3).copy(disk);
  noise(5, 12 * MIB).copy(disk, 8 * MIB);
  await writeSparse(path, disk);
  const place = await smallPlace(t, 20);
  if (place === undefined) return limitedImport(outside, path);
  const root = join(place, 'store');
  const store = await openedStore(t, root);
  const { manifest } = await store.importDisk({ path });
  await assert.rejects(store.buildArchive({ have: [], want: [manifest] }), isFull);
  assert.deepEqual(await leftovers(root), []);
  assert.deepEqual((await store.verifyImage(manifest)).damages, []);
});
