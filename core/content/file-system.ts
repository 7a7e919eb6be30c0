/** Octets from the start of a disk that `fileSystemOf` wants to see: btrfs has its mark at 65,600. */
export const SIGNATURE_BYTES = 0x10000 + 4096;

const MARKS: readonly { readonly name: string; readonly at: number; readonly mark: Buffer }[] = [
  { name: 'ext', at: 0x438, mark: Buffer.from([0x53, 0xef]) },
  { name: 'xfs', at: 0, mark: Buffer.from('XFSB') },
  { name: 'btrfs', at: 0x10040, mark: Buffer.from('_BHRfS_M') },
  { name: 'ntfs', at: 3, mark: Buffer.from('NTFS    ') },
  { name: 'vfat', at: 0x36, mark: Buffer.from('FAT1') },
  { name: 'vfat', at: 0x52, mark: Buffer.from('FAT32') },
  { name: 'vfat', at: 3, mark: Buffer.from('EXFAT   ') },
  { name: 'squashfs', at: 0, mark: Buffer.from('hsqs') },
  { name: 'iso9660', at: 0x8001, mark: Buffer.from('CD001') },
];

/** The file system whose mark stands at the start of these octets, or undefined. Only a guess good enough to say "this is a disk". */
export function fileSystemOf(head: Buffer): string | undefined {
  return MARKS.find(({ at, mark }) => head.subarray(at, at + mark.length).equals(mark))?.name;
}
