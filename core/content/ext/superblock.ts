import { AppError } from '../../errors.ts';

/** What of a superblock the reader needs; all numbers were found possible. */
export type Superblock = {
  readonly blockBytes: number;
  readonly blocks: number;
  readonly inodes: number;
  readonly firstDataBlock: number;
  readonly blocksPerGroup: number;
  readonly inodesPerGroup: number;
  readonly inodeBytes: number;
  readonly descriptorBytes: number;
  readonly firstMetaGroup: number;
  readonly hasMetaGroups: boolean;
  readonly hasSparseSupers: boolean;
  readonly hasFileTypes: boolean;
};

export const SUPERBLOCK_AT = 1024;
export const SUPERBLOCK_BYTES = 1024;
const MAGIC = 0xef53;
const INCOMPAT = { compression: 0x1, fileTypes: 0x2, journalDevice: 0x8, metaGroups: 0x10, is64Bit: 0x80 };
const SPARSE_SUPERS = 0x1;
const MAX_BLOCKS = 2 ** 40;

/**
 * Reads the superblock of an ext2, ext3 or ext4 file system, which lies 1,024 octets behind its start.
 * Throws `bad_data` when it is none, or one whose numbers cannot be.
 * Source: Linux, Documentation/filesystems/ext4/super.rst.
 */
export function parseSuperblock(octets: Buffer): Superblock {
  if (octets.length < SUPERBLOCK_BYTES || octets.readUInt16LE(0x38) !== MAGIC) throw notExt('its magic is missing');
  const incompat = octets.readUInt32LE(0x60);
  if ((incompat & (INCOMPAT.compression | INCOMPAT.journalDevice)) !== 0) throw notExt('it holds no files, or compressed ones');
  const is64Bit = (incompat & INCOMPAT.is64Bit) !== 0;
  const isOld = octets.readUInt32LE(0x4c) === 0;
  const superblock: Superblock = {
    blockBytes: 1024 << Math.min(octets.readUInt32LE(0x18), 16),
    blocks: octets.readUInt32LE(0x04) + (is64Bit ? octets.readUInt32LE(0x150) * 2 ** 32 : 0),
    inodes: octets.readUInt32LE(0x00),
    firstDataBlock: octets.readUInt32LE(0x14),
    blocksPerGroup: octets.readUInt32LE(0x20),
    inodesPerGroup: octets.readUInt32LE(0x28),
    inodeBytes: isOld ? 128 : octets.readUInt16LE(0x58),
    descriptorBytes: is64Bit ? octets.readUInt16LE(0xfe) : 32,
    firstMetaGroup: octets.readUInt32LE(0x104),
    hasMetaGroups: (incompat & INCOMPAT.metaGroups) !== 0,
    hasSparseSupers: (octets.readUInt32LE(0x64) & SPARSE_SUPERS) !== 0,
    hasFileTypes: (incompat & INCOMPAT.fileTypes) !== 0,
  };
  requirePossible(superblock);
  return superblock;
}

function requirePossible(found: Superblock): void {
  const isPowerOfTwo = (value: number): boolean => (value & (value - 1)) === 0;
  const { blockBytes, inodeBytes, descriptorBytes } = found;
  if (blockBytes > 65_536) throw notExt(`its blocks have ${blockBytes} bytes`);
  if (found.blocks === 0 || found.blocks > MAX_BLOCKS || found.blocksPerGroup === 0 || found.blocksPerGroup > blockBytes * 8 * 32) {
    throw notExt(`it claims ${found.blocks} blocks in groups of ${found.blocksPerGroup}`);
  }
  if (found.inodesPerGroup === 0 || found.inodesPerGroup > blockBytes * 8) throw notExt(`its groups have ${found.inodesPerGroup} inodes`);
  if (inodeBytes < 128 || inodeBytes > blockBytes || !isPowerOfTwo(inodeBytes)) throw notExt(`its inodes have ${inodeBytes} bytes`);
  if (descriptorBytes < 32 || descriptorBytes > blockBytes || !isPowerOfTwo(descriptorBytes)) {
    throw notExt(`its group descriptors have ${descriptorBytes} bytes`);
  }
}

function notExt(why: string): AppError {
  return new AppError('bad_data', `this is no ext file system: ${why}`);
}
