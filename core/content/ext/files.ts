import { AppError } from '../../errors.ts';
import { MAX_PATH_BYTES } from '../limits.ts';
import { parseDirectoryBlock } from './directory.ts';
import { type Inode, parseInode } from './inode.ts';
import { type Run, readRuns } from './runs.ts';
import { openVolume, type ReadInto, type Volume } from './volume.ts';

/** A file or (with `/` at the end of its path) a directory, and where its content lies. */
export type ExtFile = {
  readonly path: string;
  readonly sizeBytes: number;
  readonly inode: number;
  readonly links: number;
  readonly runs: readonly Run[];
  readonly blockBytes: number;
};

const ROOT_INODE = 2;
const MAX_DEPTH = 100;
/** As many as a disk of some hundred gigabytes has. */
export const MAX_EXT_FILES = 1_000_000;

/**
 * The files and directories of an ext2, ext3 or ext4 file system, from the root down. For hints, not for restoring: what is
 * damaged, encrypted or inline is passed over, no journal is replayed, and it stops after a million files. Reads only what it
 * needs; works on any octets in bounded time and memory. Throws `bad_data` when there is no such file system.
 */
export async function* readExtFiles(readInto: ReadInto): AsyncGenerator<ExtFile> {
  const volume = await openVolume(readInto);
  const { blockBytes } = volume.superblock;
  const seen = new Set<number>();
  const left: { path: string; inode: number; depth: number }[] = [{ path: '', inode: ROOT_INODE, depth: 0 }];
  let files = 0;
  for (let next = left.pop(); next !== undefined && files < MAX_EXT_FILES && !volume.isSpent(); next = left.pop()) {
    const { path, inode: number, depth } = next;
    const found = await passOverDamage(() => readOne(volume, number));
    if (found === undefined) continue;
    const { inode, runs } = found;
    files += 1;
    if (inode.kind === 'file') yield { path, sizeBytes: inode.sizeBytes, inode: number, links: inode.links, runs, blockBytes };
    // A directory that was seen is a loop, or another name for it: neither is allowed.
    if (inode.kind !== 'directory' || seen.has(number) || depth > MAX_DEPTH) continue;
    seen.add(number);
    yield { path: `${path}/`, sizeBytes: inode.sizeBytes, inode: number, links: 1, runs, blockBytes };
    const names: typeof left = [];
    for (const entry of await readNames(volume, runs)) {
      const below = path === '' ? entry.name : `${path}/${entry.name}`;
      if (below.length <= MAX_PATH_BYTES && left.length + names.length < MAX_EXT_FILES)
        names.push({ path: below, inode: entry.inode, depth: depth + 1 });
    }
    // In the order of their inodes, so that their table is read once.
    left.push(...names.sort((a, b) => b.inode - a.inode));
  }
}

async function readOne(volume: Volume, number: number): Promise<{ inode: Inode; runs: Run[] } | undefined> {
  const inode = parseInode(await volume.readInode(number));
  if (inode.kind === 'other' || inode.isOpaque) return undefined;
  return { inode, runs: await readRuns(volume, inode) };
}

async function readNames(volume: Volume, runs: readonly Run[]) {
  const names = [];
  for (const { block, blocks } of runs) {
    for (let n = 0; n < blocks && names.length < MAX_EXT_FILES && !volume.isSpent(); n++) {
      const found = await passOverDamage(async () =>
        parseDirectoryBlock(await volume.readBlock(block + n), volume.superblock.hasFileTypes),
      );
      names.push(...(found ?? []));
    }
  }
  return names;
}

async function passOverDamage<Result>(work: () => Promise<Result>): Promise<Result | undefined> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof AppError && error.code === 'bad_data') return undefined;
    throw error;
  }
}
