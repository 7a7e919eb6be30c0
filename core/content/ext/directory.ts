import { AppError } from '../../errors.ts';

export type DirectoryEntry = { readonly inode: number; readonly name: string };

/**
 * The names in one block of a directory, without `.` and `..`; octets as Latin-1, so that different names stay different.
 * Index blocks of a hashed directory hold no names: they look like one empty entry, and are read as such.
 * Throws `bad_data` when the entries do not fit the block.
 * Source: Linux, Documentation/filesystems/ext4/directory.rst.
 */
export function parseDirectoryBlock(block: Buffer, hasFileTypes: boolean): DirectoryEntry[] {
  const entries: DirectoryEntry[] = [];
  let at = 0;
  while (at + 8 <= block.length) {
    const inode = block.readUInt32LE(at);
    const recorded = block.readUInt16LE(at + 4);
    // With blocks of 64 KiB the length of a whole block does not fit.
    const length = recorded === 0xffff || (recorded === 0 && block.length === 65_536) ? block.length - at : recorded;
    const nameBytes = hasFileTypes ? (block[at + 6] ?? 0) : block.readUInt16LE(at + 6);
    if (length < 8 || length % 4 !== 0 || at + length > block.length || 8 + nameBytes > length) {
      throw new AppError('bad_data', 'a directory has entries that do not fit');
    }
    const name = block.toString('latin1', at + 8, at + 8 + nameBytes);
    if (inode !== 0 && name !== '' && name !== '.' && name !== '..') entries.push({ inode, name });
    at += length;
  }
  return entries;
}
