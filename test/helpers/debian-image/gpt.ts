import { crc32 } from 'node:zlib';

export const SECTOR = 512;
export const TYPE_BIOS_BOOT = '21686148-6449-6e6f-744e-656564454649';
export const TYPE_ESP = 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b';
export const TYPE_ROOT_AMD64 = '4f68bce3-e8cd-4db1-96e7-fbcaf984b709';

export type GptPartition = {
  readonly type: string;
  readonly id: string;
  readonly name: string;
  readonly firstSector: number;
  readonly sectors: number;
};

const ENTRIES = 128;
const ENTRY_BYTES = 128;
const TABLE_SECTORS = (ENTRIES * ENTRY_BYTES) / SECTOR;

/** The first three groups of a GUID stand little-endian on disk (UEFI 2.10, appendix A). */
function encodeGuid(text: string): Buffer {
  const octets = Buffer.from(text.replaceAll('-', ''), 'hex');
  octets.subarray(0, 4).reverse();
  octets.subarray(4, 6).reverse();
  octets.subarray(6, 8).reverse();
  return octets;
}

function encodeEntries(partitions: readonly GptPartition[]): Buffer {
  const table = Buffer.alloc(ENTRIES * ENTRY_BYTES);
  for (const [index, partition] of partitions.entries()) {
    const entry = table.subarray(index * ENTRY_BYTES, (index + 1) * ENTRY_BYTES);
    encodeGuid(partition.type).copy(entry, 0);
    encodeGuid(partition.id).copy(entry, 16);
    entry.writeBigUInt64LE(BigInt(partition.firstSector), 32);
    entry.writeBigUInt64LE(BigInt(partition.firstSector + partition.sectors - 1), 40);
    entry.write(partition.name, 56, 'utf16le');
  }
  return table;
}

function encodeHeader(
  place: { own: number; other: number; table: number },
  diskId: string,
  disk: { sectors: number; table: Buffer },
): Buffer {
  const header = Buffer.alloc(SECTOR);
  header.write('EFI PART', 0, 'latin1');
  header.writeUInt32LE(0x00010000, 8);
  header.writeUInt32LE(92, 12);
  header.writeBigUInt64LE(BigInt(place.own), 24);
  header.writeBigUInt64LE(BigInt(place.other), 32);
  header.writeBigUInt64LE(BigInt(2 + TABLE_SECTORS), 40);
  header.writeBigUInt64LE(BigInt(disk.sectors - TABLE_SECTORS - 2), 48);
  encodeGuid(diskId).copy(header, 56);
  header.writeBigUInt64LE(BigInt(place.table), 72);
  header.writeUInt32LE(ENTRIES, 80);
  header.writeUInt32LE(ENTRY_BYTES, 84);
  header.writeUInt32LE(crc32(disk.table), 88);
  header.writeUInt32LE(crc32(header.subarray(0, 92)), 16);
  return header;
}

function encodeProtectiveMbr(sectors: number): Buffer {
  const mbr = Buffer.alloc(SECTOR);
  mbr.set([0x00, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff], 446);
  mbr.writeUInt32LE(1, 454);
  mbr.writeUInt32LE(Math.min(sectors - 1, 0xffffffff), 458);
  mbr.writeUInt16BE(0x55aa, 510);
  return mbr;
}

/**
 * A partition table as the sectors at the start of the disk (protective MBR, header, table) and those at its end
 * (table, header). Source: UEFI 2.10 section 5.3.
 */
export function encodeGpt(diskId: string, sectors: number, partitions: readonly GptPartition[]): { start: Buffer; end: Buffer } {
  const table = encodeEntries(partitions);
  const last = sectors - 1;
  const first = encodeHeader({ own: 1, other: last, table: 2 }, diskId, { sectors, table });
  const backup = encodeHeader({ own: last, other: 1, table: last - TABLE_SECTORS }, diskId, { sectors, table });
  return { start: Buffer.concat([encodeProtectiveMbr(sectors), first, table]), end: Buffer.concat([table, backup]) };
}
