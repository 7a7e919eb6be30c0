import { type FileHandle, open } from 'node:fs/promises';
import { FRAME_MAGIC, FRAME_PREFIX_BYTES, frameHeaderBytes, MAX_FRAME_BYTES, parseFrameHeader } from '../../core/content/frame.ts';
import { type Frame, parseFrame } from '../../core/content/frame-reader.ts';
import { AppError } from '../../core/errors.ts';
import type { FrameRecord } from './content-index.ts';

/** A frame at its place, or a stretch of the file that is none, with the reason. */
export type Found = { readonly offset: number; readonly bytes: number; readonly frame?: Frame; readonly damage?: string };

/**
 * Everything in a pack from front to back (or from `from`, where a frame begins): frames with header and payload checked, and damaged stretches. Behind
 * damage it goes on at the next octets that are a frame header with a right checksum. Holds two frames at most.
 */
export async function* scanPack(path: string, from = 0): AsyncGenerator<Found> {
  const file = await open(path, 'r');
  try {
    const size = (await file.stat()).size;
    let offset = from;
    while (offset < size) {
      const found = await readOne(file, offset, size);
      yield found;
      offset += found.bytes;
    }
  } finally {
    await file.close();
  }
}

async function readOne(file: FileHandle, offset: number, size: number): Promise<Found> {
  const head = await readAt(file, offset, 256 * 1024);
  try {
    const header = parseFrameHeader(head);
    const bytes = header.headerBytes + header.payloadBytes;
    const octets = bytes <= head.length ? head.subarray(0, bytes) : await readAt(file, offset, bytes);
    return parsePayload(offset, octets, bytes);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    const next = await findHeader(file, offset + 1, size);
    return { offset, bytes: next - offset, damage: error.message };
  }
}

/** The header is right, so the next frame begins where this one ends, whatever its payload. */
function parsePayload(offset: number, octets: Buffer, bytes: number): Found {
  try {
    return { offset, bytes, frame: parseFrame(octets) };
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return { offset, bytes: Math.min(bytes, octets.length), damage: error.message };
  }
}

/** Where the next right header begins, from `start` on; `size` when there is none. */
async function findHeader(file: FileHandle, start: number, size: number): Promise<number> {
  for (let base = start; base < size; base += MAX_FRAME_BYTES) {
    const window = await readAt(file, base, MAX_FRAME_BYTES + FRAME_MAGIC.length);
    for (let at = window.indexOf(FRAME_MAGIC); at !== -1 && at < MAX_FRAME_BYTES; at = window.indexOf(FRAME_MAGIC, at + 1)) {
      if (await isHeader(file, base + at)) return base + at;
    }
  }
  return size;
}

async function isHeader(file: FileHandle, offset: number): Promise<boolean> {
  try {
    const prefix = await readAt(file, offset, FRAME_PREFIX_BYTES);
    if (prefix.length < FRAME_PREFIX_BYTES) return false;
    parseFrameHeader(await readAt(file, offset, frameHeaderBytes(prefix)));
    return true;
  } catch (error) {
    if (error instanceof AppError) return false;
    throw error;
  }
}

async function readAt(file: FileHandle, offset: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(buffer, done, length - done, offset + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return buffer.subarray(0, done);
}

/** What the index keeps of a frame. */
export function frameRecord(offset: number, frame: Frame): FrameRecord {
  const { header, octets } = frame;
  return { offset, bytes: octets.length, rawBytes: header.rawBytes, chunks: header.chunks };
}
