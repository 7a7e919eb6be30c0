/** An inode as far as the reader needs it. */
export type Inode = {
  readonly kind: 'file' | 'directory' | 'other';
  readonly sizeBytes: number;
  readonly links: number;
  readonly hasExtents: boolean;
  /** Its content lies where others have their map of blocks, or its names are encrypted: nothing to find there. */
  readonly isOpaque: boolean;
  /** 60 octets, a copy: the root of the map of blocks. */
  readonly map: Buffer;
};

const KINDS: Readonly<Record<number, Inode['kind']>> = { 8: 'file', 4: 'directory' };
const FLAGS = { encrypted: 0x800, extents: 0x80000, inline: 0x10000000 };

/** Source: Linux, Documentation/filesystems/ext4/inodes.rst. At least 128 octets. */
export function parseInode(octets: Buffer): Inode {
  const flags = octets.readUInt32LE(0x20);
  return {
    kind: KINDS[octets.readUInt16LE(0) >> 12] ?? 'other',
    sizeBytes: octets.readUInt32LE(0x04) + octets.readUInt32LE(0x6c) * 2 ** 32,
    links: octets.readUInt16LE(0x1a),
    hasExtents: (flags & FLAGS.extents) !== 0,
    isOpaque: (flags & (FLAGS.encrypted | FLAGS.inline)) !== 0,
    map: Buffer.from(octets.subarray(0x28, 0x28 + 60)),
  };
}
