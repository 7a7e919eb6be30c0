import { open } from 'node:fs/promises';
import { decodeAnyFrame } from '../../core/content/delta-frame.ts';
import { createFrameParser, type Frame } from '../../core/content/frame-reader.ts';
import { MAX_PART_BYTES } from '../../core/content/limits.ts';
import type { OnProgress } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import { type ChunkReader, createChunkReader } from './chunk-reader.ts';
import { PART_HEADER_BYTES, PART_TRAILER_BYTES, type PartHeader, parsePartHeader, parsePartTrailer } from './part-format.ts';
import type { Store } from './store.ts';
import { type WriteSession, withWriteSession } from './write-session.ts';

export type Unpacked = {
  readonly chunks: number;
  readonly rawBytes: number;
  /** Delta frames that were left out, since a base chunk is missing or damaged here. */
  readonly skippedFrames: number;
};

type Counted = { -readonly [Name in keyof Unpacked]: Unpacked[Name] } & { frames: number };

/** Decoded frames of ours kept while delta frames are read: neighbours build on the same base chunks. */
const BASE_FRAMES = 64;

/**
 * Takes one part of an archive into the store: see ContentStore.unpackPart. All of it becomes visible at once, at
 * the end. Errors: `bad_data` for a file that is no part, is cut off, or holds other than it declares.
 */
export async function unpackPart(store: Store, path: string, onProgress: OnProgress): Promise<Unpacked> {
  const getBase = createChunkReader(store, BASE_FRAMES);
  return withWriteSession(store, `unpacking ${path}`, async (session) => {
    const counted: Counted = { chunks: 0, rawBytes: 0, skippedFrames: 0, frames: 0 };
    for await (const { frame, header } of readPart(path)) {
      await storeFrame(frame, getBase, session, counted);
      if (counted.frames > header.frames || counted.rawBytes > header.rawBytes) throw badPart(path, 'holds more than it declares');
      onProgress(counted.rawBytes, header.rawBytes);
    }
    await session.finish();
    return { chunks: counted.chunks, rawBytes: counted.rawBytes, skippedFrames: counted.skippedFrames };
  });
}

async function storeFrame(frame: Frame, getBase: ChunkReader, session: WriteSession, counted: Counted): Promise<void> {
  counted.frames += 1;
  counted.rawBytes += frame.header.rawBytes;
  const chunks = await decodeAnyFrame(frame.header, frame.payload, getBase).catch(undefinedWithoutBase);
  if (chunks === undefined) {
    counted.skippedFrames += 1;
    return;
  }
  await session.putFrame(frame, chunks);
  counted.chunks += chunks.length;
}

/** The run finds out what is still missing and asks for it in plain frames. */
function undefinedWithoutBase(error: unknown): undefined {
  if (error instanceof AppError && (error.code === 'not_found' || error.code === 'corrupt')) return undefined;
  throw error;
}

const READ_BYTES = 1024 * 1024;

async function* readPart(path: string): AsyncGenerator<{ frame: Frame; header: PartHeader }> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    if (size < PART_HEADER_BYTES + PART_TRAILER_BYTES || size > MAX_PART_BYTES) throw badPart(path, `has ${size} bytes`);
    const read = async (offset: number, length: number): Promise<Buffer> => {
      const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(length), 0, length, offset);
      if (bytesRead !== length) throw badPart(path, 'was cut off while it was read');
      return buffer;
    };
    const header = parsePartHeader(await read(0, PART_HEADER_BYTES));
    parsePartTrailer(await read(size - PART_TRAILER_BYTES, PART_TRAILER_BYTES), header);
    const parser = createFrameParser();
    const end = size - PART_TRAILER_BYTES;
    let frames = 0;
    let rawBytes = 0;
    for (let offset = PART_HEADER_BYTES; offset < end; offset += READ_BYTES) {
      for (const frame of parser.push(await read(offset, Math.min(READ_BYTES, end - offset)))) {
        frames += 1;
        rawBytes += frame.header.rawBytes;
        yield { frame, header };
      }
    }
    parser.finish();
    if (frames !== header.frames || rawBytes !== header.rawBytes) {
      throw badPart(path, `declares ${header.frames} frames of ${header.rawBytes} bytes and holds ${frames} of ${rawBytes}`);
    }
  } finally {
    await file.close();
  }
}

function badPart(path: string, what: string): AppError {
  return new AppError('bad_data', `the archive part ${path} ${what}`, { hint: 'remove it and fetch it again' });
}
