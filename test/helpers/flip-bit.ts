import { open } from 'node:fs/promises';

/** Flips one bit of a file, counted from its first octet's lowest. */
export async function flipBit(path: string, bit: number): Promise<void> {
  const file = await open(path, 'r+');
  const octet = Buffer.alloc(1);
  await file.read(octet, 0, 1, bit >> 3);
  octet[0] = (octet[0] ?? 0) ^ (1 << (bit & 7));
  await file.write(octet, 0, 1, bit >> 3);
  await file.close();
}
