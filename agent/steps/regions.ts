import type { DiskRoot } from '../../core/content/manifest.ts';
import type { Extent } from '../../core/content/page-tree.ts';

/**
 * Where a disk says what it is: MBR, GPT, boot code. It is emptied first and written last, so that a deployment
 * that was interrupted leaves no disk that firmware would boot.
 */
export const HEAD_BYTES = 1024 * 1024;

/** Divides an extent into its part of the head and the rest. Data is never cut: a chunk that begins in the head is head. */
export function splitAtHead(extent: Extent): { head?: Extent; body?: Extent } {
  if (extent.offset >= HEAD_BYTES) return { body: extent };
  const end = extent.offset + extent.length;
  if (extent.kind === 'data' || end <= HEAD_BYTES) return { head: extent };
  const headLength = HEAD_BYTES - extent.offset;
  return { head: { ...extent, length: headLength }, body: { ...extent, offset: HEAD_BYTES, length: end - HEAD_BYTES } };
}

/** The first octets of a partition tell which file system it is and where its parts lie. */
const SUPERBLOCK_BYTES = 1024 * 1024;

/** Says of an extent whether the disk is useless without it: partition table, gaps between partitions, starts of partitions. */
export function createMetadataTest(root: DiskRoot): (extent: Extent) => boolean {
  const { partitions } = root.disk.partitionTable;
  return ({ offset }) => {
    const inside = partitions.find(({ startBytes, sizeBytes }) => offset >= startBytes && offset < startBytes + sizeBytes);
    return inside === undefined ? partitions.length > 0 || offset < SUPERBLOCK_BYTES : offset < inside.startBytes + SUPERBLOCK_BYTES;
  };
}
