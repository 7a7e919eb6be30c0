import { AppError } from '../../errors.ts';
import { parseSuperblock, SUPERBLOCK_AT, SUPERBLOCK_BYTES, type Superblock } from './superblock.ts';

/** Reads octets of the file system into `room`; gives how many there are: fewer only at its end. */
export type ReadInto = (room: Buffer, offset: number) => Promise<number>;

/**
 * An opened file system: blocks and inodes by their number. Both throw `bad_data` for a number that cannot be. What they give lies in
 * memory that goes round: it is good until the next is read.
 */
export type Volume = {
  readonly superblock: Superblock;
  readBlock(block: number): Promise<Buffer>;
  /** Inodes are numbered from 1; the root directory is 2. */
  readInode(inode: number): Promise<Buffer>;
  /** Throws `bad_data` once more was done than a sound file system of this size needs: maps and directories may be made to go round. */
  spend(work: number): void;
  isSpent(): boolean;
};

/** Blocks kept: inode tables and directories are read again and again. */
const KEPT_BLOCKS = 512;
/** Work after which a file system counts as endless: three blocks are looked at for an ordinary file. */
const MOST_WORK = 6_000_000;

/** Throws `bad_data` when it is none. */
export async function openVolume(readInto: ReadInto): Promise<Volume> {
  const first = Buffer.alloc(SUPERBLOCK_BYTES);
  const superblock = parseSuperblock(first.subarray(0, await readInto(first, SUPERBLOCK_AT)));
  const { blockBytes, inodesPerGroup, inodeBytes, descriptorBytes } = superblock;
  const kept = new Map<number, Buffer>();
  // A new buffer for every block would leave the collector as much as all that is read, and it is slow to take what is small.
  let room: Buffer | undefined;
  let work = Math.min(MOST_WORK, 1000 + 16 * superblock.inodes + 4 * superblock.blocks);

  function spend(done: number): void {
    work -= done;
    if (work < 0) throw badVolume('has no end');
  }

  async function readBlock(block: number): Promise<Buffer> {
    spend(1);
    const known = kept.get(block);
    if (known) return known;
    if (block <= 0 || block >= superblock.blocks) throw badVolume(`names block ${block} of ${superblock.blocks}`);
    const octets = room ?? takeRoom();
    room = octets;
    if ((await readInto(octets, block * blockBytes)) !== blockBytes) throw badVolume('is cut off');
    room = undefined;
    kept.set(block, octets);
    return octets;
  }

  function takeRoom(): Buffer {
    const [oldest] = kept;
    if (oldest === undefined || kept.size < KEPT_BLOCKS) return Buffer.allocUnsafeSlow(blockBytes);
    kept.delete(oldest[0]);
    return oldest[1];
  }

  async function inodeTableOf(group: number): Promise<number> {
    const perBlock = blockBytes / descriptorBytes;
    const block = await readBlock(descriptorBlock(superblock, Math.floor(group / perBlock), perBlock));
    const at = (group % perBlock) * descriptorBytes;
    return block.readUInt32LE(at + 0x08) + (descriptorBytes >= 64 ? block.readUInt32LE(at + 0x28) * 2 ** 32 : 0);
  }

  async function readInode(inode: number): Promise<Buffer> {
    if (inode < 1 || inode > superblock.inodes) throw badVolume(`names inode ${inode} of ${superblock.inodes}`);
    const table = await inodeTableOf(Math.floor((inode - 1) / inodesPerGroup));
    const at = ((inode - 1) % inodesPerGroup) * inodeBytes;
    const block = await readBlock(table + Math.floor(at / blockBytes));
    return block.subarray(at % blockBytes, (at % blockBytes) + inodeBytes);
  }

  return { superblock, readBlock, readInode, spend, isSpent: () => work < 0 };
}

/** Where the n-th block of group descriptors lies: behind the superblock, or, from `firstMetaGroup` on, in the groups it describes. */
function descriptorBlock(superblock: Superblock, number: number, perBlock: number): number {
  const { firstDataBlock, blocksPerGroup, hasMetaGroups, firstMetaGroup } = superblock;
  if (!hasMetaGroups || number < firstMetaGroup) return firstDataBlock + 1 + number;
  const group = number * perBlock;
  return firstDataBlock + group * blocksPerGroup + (hasSuperblock(superblock, group) ? 1 : 0);
}

function hasSuperblock({ hasSparseSupers }: Superblock, group: number): boolean {
  if (group <= 1 || !hasSparseSupers) return true;
  return [3, 5, 7].some((base) => {
    let power = base;
    while (power < group) power *= base;
    return power === group;
  });
}

function badVolume(what: string): AppError {
  return new AppError('bad_data', `the ext file system ${what}`);
}
