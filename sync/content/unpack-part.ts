import { open } from 'node:fs/promises';
import { decodeFrame } from '../../core/content/frame.ts';
import { createFrameParser, type Frame } from '../../core/content/frame-reader.ts';
import { MAX_PART_BYTES } from '../../core/content/limits.ts';
import type { OnProgress } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import { PART_HEADER_BYTES, PART_TRAILER_BYTES, type PartHeader, parsePartHeader, parsePartTrailer } from './part-format.ts';
import type { Store } from './store.ts';
import { type WriteSession, withWriteSession } from './write-session.ts';

type Counted = { chunks: number; rawBytes: number; frames: number };

/**
 * Takes one part of an archive into the store: see ContentStore.unpackPart. All of it becomes visible at once, at
 * the end. Errors: `bad_data` for a file that is no part, is cut off, or holds other than it declares.
 */
export async function unpackPart(store: Store, path: string, onProgress: OnProgress): Promise<{ chunks: number; rawBytes: number }> {
  return withWriteSession(store, `unpacking ${path}`, async (session) => {
    const counted: Counted = { chunks: 0, rawBytes: 0, frames: 0 };
    for await (const { frame, header } of readPart(path)) {
      await storeFrame(frame, session, counted);
      if (counted.frames > header.frames || counted.rawBytes > header.rawBytes) throw badPart(path, 'holds more than it declares');
      onProgress(counted.rawBytes, header.rawBytes);
    }
    await session.finish();
    return { chunks: counted.chunks, rawBytes: counted.rawBytes };
  });
}

async function storeFrame(frame: Frame, session: WriteSession, counted: Counted): Promise<void> {
  await session.putFrame(frame, await decodeFrame(frame.header, frame.payload));
  counted.frames += 1;
  counted.chunks += frame.header.chunks.length;
  counted.rawBytes += frame.header.rawBytes;
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
