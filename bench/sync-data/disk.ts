import { execFile } from 'node:child_process';
import { mkdir, open, rmdir } from 'node:fs/promises';
import { promisify } from 'node:util';
import { encodeGpt, SECTOR, TYPE_ROOT_AMD64 } from '../../test/helpers/debian-image/gpt.ts';

/*
 * The disks: 2 GiB, a GPT and one ext4 partition from the first MiB to the last. Made and changed as root, by loop
 * devices at an offset. Blocks that no file owns are holes, so that deleted files burden nobody.
 */
const MIB = 1_048_576;
export const DISK_BYTES = 2048 * MIB;
export const PARTITION = { startBytes: MIB, sizeBytes: DISK_BYTES - 2 * MIB };
const ID = '7a795754-0000-4000-8000-00000000b001';
const run = promisify(execFile);

/** A fresh disk whose file system holds `tree`; `seed` is its file system's id and hash seed. */
export async function makeDisk(path: string, tree: string, seed: string): Promise<void> {
  const sectors = DISK_BYTES / SECTOR;
  const partition = { firstSector: PARTITION.startBytes / SECTOR, sectors: PARTITION.sizeBytes / SECTOR };
  const table = encodeGpt(ID, sectors, [{ type: TYPE_ROOT_AMD64, id: seed, name: 'root', ...partition }]);
  const file = await open(path, 'w');
  try {
    await file.truncate(DISK_BYTES);
    await file.write(table.start, 0, table.start.length, 0);
    await file.write(table.end, 0, table.end.length, DISK_BYTES - table.end.length);
  } finally {
    await file.close();
  }
  const extended = `offset=${PARTITION.startBytes},hash_seed=${seed},lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0`;
  const words = ['-q', '-F', '-t', 'ext4', '-b', '4096', '-m', '1', '-L', 'root', '-U', seed, '-O', '^metadata_csum_seed,^orphan_file'];
  await run('mke2fs', [...words, '-E', extended, '-d', tree, path, `${PARTITION.sizeBytes / 1024}k`]);
}

/** Works in the mounted file system of a disk; afterwards its free blocks are holes. */
export async function inDisk(
  path: string,
  mountpoint: string,
  work: (tree: string) => Promise<void>,
  mode: 'rw' | 'ro' = 'rw',
): Promise<void> {
  await mkdir(mountpoint, { recursive: true });
  const options = `loop,offset=${PARTITION.startBytes},sizelimit=${PARTITION.sizeBytes},${mode}${mode === 'ro' ? ',noload' : ''}`;
  await run('mount', ['-t', 'ext4', '-o', options, path, mountpoint]);
  try {
    await work(mountpoint);
    // Deleted files' blocks are free once the journal has them.
    if (mode === 'rw') await run('sh', ['-c', 'sync -f "$0" && fstrim "$0"', mountpoint]);
  } finally {
    await run('umount', [mountpoint]);
    await rmdir(mountpoint);
  }
}

/** The disk's partition as a block device while `work` runs: for partclone. */
export async function withLoop<Result>(path: string, work: (device: string) => Promise<Result>): Promise<Result> {
  const place = ['--offset', String(PARTITION.startBytes), '--sizelimit', String(PARTITION.sizeBytes)];
  const { stdout } = await run('losetup', ['--find', '--show', ...place, path]);
  const device = stdout.trim();
  try {
    return await work(device);
  } finally {
    await run('losetup', ['--detach', device]);
  }
}
