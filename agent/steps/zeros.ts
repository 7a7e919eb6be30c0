import type { OpenDisk } from './disk.ts';

/** Reads and writes of zero ranges; large, because there are gigabytes of them. */
const BLOCK_BYTES = 4 * 1024 * 1024;
/** Looked at first: a block that begins with something else is written without reading the rest. */
const PROBE_BYTES = 4096;
const ZEROS = Buffer.alloc(BLOCK_BYTES);

export type ZeroRange = { readonly offset: number; readonly length: number };

/**
 * Makes a range read back as zeros. Zeros are written, not discarded: what a discarded block reads as is the
 * disk's secret. Blocks that are zero already are left alone. `onBlock` gets the length of each block and whether it was written.
 */
export async function writeZeros(
  disk: OpenDisk,
  range: ZeroRange,
  onBlock: (length: number, isWritten: boolean) => void = () => undefined,
): Promise<void> {
  const end = range.offset + range.length;
  for (let offset = range.offset; offset < end; offset += BLOCK_BYTES) {
    const length = Math.min(BLOCK_BYTES, end - offset);
    const isWritten = !(await isZeroOnDisk(disk, offset, length));
    if (isWritten) await disk.write(offset, ZEROS.subarray(0, length));
    onBlock(length, isWritten);
  }
}

async function isZeroOnDisk(disk: OpenDisk, offset: number, length: number): Promise<boolean> {
  if (!isZero(await disk.read(offset, Math.min(PROBE_BYTES, length)))) return false;
  return length <= PROBE_BYTES || isZero(await disk.read(offset, length));
}

/** Whether all octets are zero; at most 4 MiB. */
export function isZero(bytes: Buffer): boolean {
  return bytes.equals(ZEROS.subarray(0, bytes.length));
}
