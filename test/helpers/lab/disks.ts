import { randomFillSync } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';

const STEP_BYTES = 1 << 20;

/** A disk file full of random octets, so that nothing a deploy forgets can pass as zeros. */
export async function writeRandomDisk(path: string, sizeBytes: number): Promise<void> {
  const file = await open(path, 'wx');
  const block = Buffer.alloc(STEP_BYTES);
  for (let offset = 0; offset < sizeBytes; offset += STEP_BYTES) {
    randomFillSync(block);
    await file.write(block, 0, Math.min(STEP_BYTES, sizeBytes - offset), offset);
  }
  await file.close();
}

export type Comparison = { readonly comparedBytes: number; readonly differentBytes: number; readonly firstDifference: number | null };

/** Compares every octet of the image's length with the disk, zero ranges included. */
export async function compareDisk(imagePath: string, diskPath: string): Promise<Comparison> {
  const image = await open(imagePath);
  const disk = await open(diskPath);
  try {
    return await compareHandles(image, disk);
  } finally {
    await image.close();
    await disk.close();
  }
}

async function compareHandles(image: FileHandle, disk: FileHandle): Promise<Comparison> {
  const { size } = await image.stat();
  const left = Buffer.alloc(STEP_BYTES);
  const right = Buffer.alloc(STEP_BYTES);
  let differentBytes = 0;
  let firstDifference: number | null = null;
  for (let offset = 0; offset < size; offset += STEP_BYTES) {
    const length = Math.min(STEP_BYTES, size - offset);
    await readFully(image, left, length, offset);
    await readFully(disk, right, length, offset);
    if (left.compare(right, 0, length, 0, length) === 0) continue;
    for (let index = 0; index < length; index += 1) {
      if (left[index] === right[index]) continue;
      differentBytes += 1;
      firstDifference ??= offset + index;
    }
  }
  return { comparedBytes: size, differentBytes, firstDifference };
}

async function readFully(file: FileHandle, buffer: Buffer, length: number, offset: number): Promise<void> {
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(buffer, done, length - done, offset + done);
    if (bytesRead === 0) throw new Error(`the disk ends at ${offset + done}`);
    done += bytesRead;
  }
}
