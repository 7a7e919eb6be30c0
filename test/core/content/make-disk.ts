import { crc32 } from 'node:zlib';

/** Octets that are the same for the same seed: about a third compresses, as disks do. */
export function noise(seed: number, bytes: number): Buffer {
  const octets = Buffer.alloc(Math.ceil(bytes / 4) * 4);
  let state = (seed * 2654435761 + 1) >>> 0;
  for (let at = 0; at < octets.length; at += 4) {
    state ^= (state << 13) >>> 0;
    state = (state ^ (state >>> 17)) >>> 0;
    state = (state ^ (state << 5)) >>> 0;
    octets.writeUInt32LE(at % 12 === 0 ? 0x20202020 : state, at);
  }
  return octets.subarray(0, bytes);
}

/** Numbers in 0..limit-1, the same for the same seed. */
export function random(seed: number): (limit: number) => number {
  let state = (seed * 2654435761 + 12345) >>> 0 || 1;
  return (limit) => {
    state ^= (state << 13) >>> 0;
    state = (state ^ (state >>> 17)) >>> 0;
    state = (state ^ (state << 5)) >>> 0;
    return state % limit;
  };
}

export type GptPartition = {
  readonly first: number;
  readonly last: number;
  readonly type: string;
  readonly name?: string;
  readonly attributes?: number;
};

export const LINUX = '0fc63daf-8483-4772-8e79-3d69d8477de4';
export const ESP = 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b';
export const BIOS_BOOT = '21686148-6449-6e6f-744e-656564454649';

/** Writes a protective MBR, a GPT header and its entries (first and last sectors as given) to the start of a disk. */
export function writeGpt(disk: Buffer, sectorSize: number, partitions: readonly GptPartition[]): void {
  const sectors = disk.length / sectorSize;
  writeMbr(disk, [{ type: 0xee, start: 1, sectors: Math.min(sectors - 1, 0xffffffff) }]);
  const entries = Buffer.alloc(128 * 128);
  partitions.forEach((partition, index) => {
    const at = index * 128;
    guidOctets(partition.type).copy(entries, at);
    guidOctets('11111111-2222-3333-4444-5555555555aa').copy(entries, at + 16);
    entries.writeBigUInt64LE(BigInt(partition.first), at + 32);
    entries.writeBigUInt64LE(BigInt(partition.last), at + 40);
    entries.writeBigUInt64LE(BigInt(partition.attributes ?? 0), at + 48);
    entries.write(partition.name ?? '', at + 56, 72, 'utf16le');
  });
  entries.copy(disk, sectorSize * 2);
  const header = Buffer.alloc(92);
  header.write('EFI PART', 0, 'latin1');
  header.writeUInt32LE(0x10000, 8);
  header.writeUInt32LE(92, 12);
  header.writeBigUInt64LE(1n, 24);
  header.writeBigUInt64LE(BigInt(sectors - 1), 32);
  header.writeBigUInt64LE(34n, 40);
  header.writeBigUInt64LE(BigInt(sectors - 34), 48);
  header.writeBigUInt64LE(2n, 72);
  header.writeUInt32LE(128, 80);
  header.writeUInt32LE(128, 84);
  header.writeUInt32LE(crc32(entries), 88);
  header.writeUInt32LE(crc32(header), 16);
  header.copy(disk, sectorSize);
}

function guidOctets(text: string): Buffer {
  const octets = Buffer.from(text.replaceAll('-', ''), 'hex');
  octets.subarray(0, 4).reverse();
  octets.subarray(4, 6).reverse();
  octets.subarray(6, 8).reverse();
  return octets;
}

export type MbrPartition = { readonly type: number; readonly start: number; readonly sectors: number; readonly active?: boolean };

/** Writes the table of an MBR (or of an extended boot record) into the 512 octets at `at`. */
export function writeMbr(disk: Buffer, partitions: readonly MbrPartition[], at = 0): void {
  partitions.forEach((partition, index) => {
    const entry = at + 446 + index * 16;
    disk[entry] = partition.active ? 0x80 : 0;
    disk[entry + 4] = partition.type;
    disk.writeUInt32LE(partition.start, entry + 8);
    disk.writeUInt32LE(partition.sectors, entry + 12);
  });
  disk.writeUInt16LE(0xaa55, at + 510);
}

/** A disk of `megabytes` with a GPT, an EFI system partition and a root partition with data, zeros and repeats. */
export function gptDisk(megabytes: number, seed: number, sectorSize = 512): Buffer {
  const disk = Buffer.alloc(megabytes * 1024 * 1024);
  const perMegabyte = (1024 * 1024) / sectorSize;
  const last = disk.length / sectorSize - 35;
  writeGpt(disk, sectorSize, [
    { first: perMegabyte, last: 3 * perMegabyte - 1, type: ESP, name: 'EFI' },
    { first: 3 * perMegabyte, last, type: LINUX, name: 'root' },
  ]);
  fill(disk, 1024 * 1024, 3 * 1024 * 1024, seed);
  fill(disk, 3 * 1024 * 1024, (last + 1) * sectorSize, seed + 1);
  return disk;
}

/** Data and holes of many sizes between two offsets. */
export function fill(disk: Buffer, from: number, to: number, seed: number): void {
  const next = random(seed);
  let at = from;
  while (at < to) {
    const length = Math.min(to - at, (1 + next(200)) * 4096);
    if (next(3) > 0) noise(seed + next(1000), length).copy(disk, at);
    at += length;
  }
}
