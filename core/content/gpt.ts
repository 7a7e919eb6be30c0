import { crc32 } from 'node:zlib';
import { AppError } from '../errors.ts';
import type { Partition } from '../image.ts';

/** Reads `length` octets at `offset` of a disk; shorter at its end. */
export type ReadAt = (offset: number, length: number) => Promise<Buffer>;

export type Gpt = {
  readonly sectorSize: number;
  readonly partitions: readonly Partition[];
};

const SIGNATURE = 'EFI PART';
const MAX_ENTRIES = 1024;
const MAX_ENTRY_BYTES = 4096;
const LEGACY_BOOTABLE = 0x04;

/** Does a GPT header stand at sector 1 of a disk with this sector size? */
export function hasGptHeader(sector: Buffer): boolean {
  return sector.toString('latin1', 0, 8) === SIGNATURE;
}

/**
 * The GPT of a disk whose header stands at `sectorSize`. Both checksums must hold.
 * Throws `bad_data`. Source: UEFI 2.10 §5.3.2 (header), §5.3.3 (entries).
 */
export async function readGpt(readAt: ReadAt, sectorSize: number): Promise<Gpt> {
  const header = await readAt(sectorSize, sectorSize);
  const headerBytes = header.readUInt32LE(12);
  if (headerBytes < 92 || headerBytes > header.length) throw badGpt(`claims a header of ${headerBytes} bytes`);
  const summed = Buffer.from(header.subarray(0, headerBytes));
  summed.writeUInt32LE(0, 16);
  if (crc32(summed) !== header.readUInt32LE(16)) throw badGpt('has a damaged header (its checksum differs)');
  const count = header.readUInt32LE(80);
  const entryBytes = header.readUInt32LE(84);
  const isEntrySize = entryBytes >= 128 && entryBytes <= MAX_ENTRY_BYTES && entryBytes % 8 === 0;
  if (count > MAX_ENTRIES || !isEntrySize) throw badGpt(`claims ${count} entries of ${entryBytes} bytes`);
  const table = await readAt(toBytes(header.readBigUInt64LE(72), sectorSize), count * entryBytes);
  if (table.length !== count * entryBytes || crc32(table) !== header.readUInt32LE(88)) {
    throw badGpt('has a damaged list of partitions (its checksum differs)');
  }
  const partitions = Array.from({ length: count }, (_, index) =>
    readEntry(table.subarray(index * entryBytes, (index + 1) * entryBytes), index + 1, sectorSize),
  ).filter((partition) => partition !== undefined);
  return { sectorSize, partitions };
}

function readEntry(entry: Buffer, number: number, sectorSize: number): Partition | undefined {
  const type = guid(entry.subarray(0, 16));
  if (type === '00000000-0000-0000-0000-000000000000') return undefined;
  const startBytes = toBytes(entry.readBigUInt64LE(32), sectorSize);
  const endBytes = toBytes(entry.readBigUInt64LE(40), sectorSize) + sectorSize;
  if (endBytes <= startBytes) throw badGpt(`has a partition ${number} that ends before it starts`);
  const name = [...entry.toString('utf16le', 56, 128).replace(/\0.*$/s, '')].filter((character) => character.isWellFormed()).join('');
  const bootable = ((entry[48] ?? 0) & LEGACY_BOOTABLE) !== 0;
  return { number, startBytes, sizeBytes: endBytes - startBytes, type, ...(name ? { name } : {}), ...(bootable ? { bootable } : {}) };
}

function toBytes(lba: bigint, sectorSize: number): number {
  if (lba > 2n ** 40n) throw badGpt(`points at sector ${lba}`);
  return Number(lba) * sectorSize;
}

/** The text form of a GUID as disks hold it: the first three fields are little-endian. */
function guid(octets: Buffer): string {
  const hex = (from: number, to: number): string => octets.toString('hex', from, to);
  const swapped = Buffer.from(octets.subarray(0, 8));
  swapped.subarray(0, 4).reverse();
  swapped.subarray(4, 6).reverse();
  swapped.subarray(6, 8).reverse();
  return `${swapped.toString('hex', 0, 4)}-${swapped.toString('hex', 4, 6)}-${swapped.toString('hex', 6, 8)}-${hex(8, 10)}-${hex(10, 16)}`;
}

function badGpt(what: string): AppError {
  return new AppError('bad_data', `the disk's GPT ${what}`, { hint: 'repair the image (sgdisk, sfdisk --verify) and import it again' });
}
