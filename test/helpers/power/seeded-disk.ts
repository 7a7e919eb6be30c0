import { writeFile } from 'node:fs/promises';

const SECTOR = 512;
const FIRST_SECTOR = 2048;

/** A raw disk with one MBR partition: `bytes` of noise from `random`, then as many of text that packs well. The same row of numbers gives the same disk. */
export async function writeSeededDisk(path: string, bytes: number, random: () => number): Promise<void> {
  const partition = Math.ceil((2 * bytes) / SECTOR);
  const disk = Buffer.alloc((FIRST_SECTOR + partition) * SECTOR);
  disk.writeUInt8(0x83, 446 + 4);
  disk.writeUInt32LE(FIRST_SECTOR, 446 + 8);
  disk.writeUInt32LE(partition, 446 + 12);
  disk.writeUInt16BE(0x55aa, 510);
  const from = FIRST_SECTOR * SECTOR;
  for (let at = from; at + 4 <= from + bytes; at += 4) disk.writeUInt32LE(Math.floor(random() * 2 ** 32), at);
  for (let at = from + bytes; at + 64 <= disk.length; at += 64)
    disk.write(`${at} ${random() < 0.5 ? 'kernel' : 'library'} of the image\n`, at);
  await writeFile(path, disk);
}
