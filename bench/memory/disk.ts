import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, lstat, mkdir, open, readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { encodeGpt, SECTOR, TYPE_ROOT_AMD64 } from '../../test/helpers/debian-image/gpt.ts';
import { touchBlocks } from '../sync-data/edits.ts';

/*
 * A sparse disk and its successor: a GPT, one ext4 from the first MiB to the last, files of this machine's /usr in many
 * directories of which the file system puts each somewhere else on the disk. Needs root (loop devices), mke2fs, tar.
 */
const MIB = 1_048_576;
const START = MIB;
const ID = '7a795754-0000-4000-8000-00000000b201';
/** The file system spreads top directories over its groups. */
const DIRECTORIES = 40;
const BLOCK_BYTES = 4096;
const run = promisify(execFile);

export type DiskWish = { readonly sizeBytes: number; readonly usedBytes: number };

/** About `usedBytes` of files, whatever of them a small disk can take. */
export async function makeSparseDisk(path: string, scratch: string, { sizeBytes, usedBytes }: DiskWish): Promise<void> {
  await layOut(path, sizeBytes);
  await inFileSystem(path, { sizeBytes, mountpoint: join(scratch, 'mounted') }, async (mounted) => {
    const tree = join(mounted, 'usr');
    await mkdir(tree);
    // Ext4 spreads only directories of the root by itself.
    await run('chattr', ['+T', tree]);
    await copyFiles(await chooseFiles(usedBytes), { tree, scratch });
  });
}

/** The disk again, about one block in a hundred changed where it lies and as much added. */
export async function makeSuccessor(from: string, to: string, scratch: string, { sizeBytes, usedBytes }: DiskWish): Promise<void> {
  await run('cp', ['--sparse=always', '--reflink=auto', '--', from, to]);
  const changedBytes = usedBytes / 100;
  await inFileSystem(to, { sizeBytes, mountpoint: join(scratch, 'mounted') }, async (mounted) => {
    await touchBlocks(mounted, { blocks: Math.round(changedBytes / BLOCK_BYTES), seed: 5 });
    const tree = join(mounted, 'added');
    await mkdir(tree);
    await copyFiles(await chooseFiles(changedBytes, usedBytes), { tree, scratch });
  });
}

async function layOut(path: string, sizeBytes: number): Promise<void> {
  const partition = { firstSector: START / SECTOR, sectors: (sizeBytes - 2 * MIB) / SECTOR };
  const table = encodeGpt(ID, sizeBytes / SECTOR, [{ type: TYPE_ROOT_AMD64, id: ID, name: 'root', ...partition }]);
  const file = await open(path, 'w');
  try {
    await file.truncate(sizeBytes);
    await file.write(table.start, 0, table.start.length, 0);
    await file.write(table.end, 0, table.end.length, sizeBytes - table.end.length);
  } finally {
    await file.close();
  }
  const words = ['-q', '-F', '-t', 'ext4', '-b', String(BLOCK_BYTES), '-U', ID, '-O', '^metadata_csum_seed,^orphan_file'];
  const extended = `offset=${START},hash_seed=${ID},lazy_itable_init=0,lazy_journal_init=0`;
  await run('mke2fs', [...words, '-E', extended, path, `${(sizeBytes - 2 * MIB) / 1024}k`]);
}

async function inFileSystem(
  path: string,
  { sizeBytes, mountpoint }: { sizeBytes: number; mountpoint: string },
  work: (tree: string) => Promise<void>,
): Promise<void> {
  await mkdir(mountpoint, { recursive: true });
  await run('mount', ['-t', 'ext4', '-o', `loop,offset=${START},sizelimit=${sizeBytes - 2 * MIB}`, path, mountpoint]);
  try {
    await work(mountpoint);
    await run('sh', ['-c', 'sync -f "$0" && fstrim "$0"', mountpoint]);
  } finally {
    await run('umount', [mountpoint]);
    await rmdir(mountpoint);
  }
}

type Chosen = { readonly path: string; readonly place: number };

/** Files of /usr in the order of their paths, so much of them; `from` octets of them are passed over. */
async function chooseFiles(bytes: number, from = 0): Promise<readonly Chosen[]> {
  const chosen: Chosen[] = [];
  let seen = 0;
  for (const entry of await readdir('/usr', { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const size = Math.ceil((await lstat(path)).size / BLOCK_BYTES) * BLOCK_BYTES;
    seen += size;
    if (seen > from) chosen.push({ path, place: chosen.length % DIRECTORIES });
    if (seen >= from + bytes) break;
  }
  return chosen;
}

async function copyFiles(files: readonly Chosen[], { tree, scratch }: { tree: string; scratch: string }): Promise<void> {
  for (let place = 0; place < DIRECTORIES; place++) {
    const list = join(scratch, `files-${place}`);
    await appendFile(
      list,
      files
        .filter((file) => file.place === place)
        .map(({ path }) => `${path}\0`)
        .join(''),
      { flag: 'w' },
    );
    const directory = join(tree, String(place));
    await mkdir(directory, { recursive: true });
    const packed = spawn('sh', ['-c', 'tar -cf - -P --null -T "$0" | tar -xf - -C "$1"', list, directory], {
      stdio: ['ignore', 'ignore', 'ignore'],
    });
    const [status] = await once(packed, 'close');
    if (status !== 0) throw new Error(`copying files to ${directory} ended with ${status}`);
  }
}
