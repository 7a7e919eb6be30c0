import { decodeAnyFrame, makeDictionaryRoom } from '../../core/content/delta-frame.ts';
import type { Chunk } from '../../core/content/frame.ts';
import { createFrameParser, type Frame } from '../../core/content/frame-reader.ts';
import { MAX_PART_BYTES } from '../../core/content/limits.ts';
import { release } from '../../core/content/release.ts';
import type { OnProgress } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import { type BaseReader, createBaseReader } from './base-reader.ts';
import { undefinedWhenBad } from './chunk-reader.ts';
import { PART_HEADER_BYTES, PART_TRAILER_BYTES, type PartHeader, parsePartHeader, parsePartTrailer } from './part-format.ts';
import { confirmation, type Growing, openGrowing, openWhole } from './part-source.ts';
import type { Store } from './store.ts';
import { type WriteSession, withWriteSession } from './write-session.ts';

export type Unpacked = {
  readonly chunks: number;
  readonly rawBytes: number;
  /** Delta frames that were left out, since a base chunk is missing or damaged here. */
  readonly skippedFrames: number;
};

type Counted = { -readonly [Name in keyof Unpacked]: Unpacked[Name] } & { frames: number };

/** Octets and number of frames that are read ahead, when they are there, to know which base chunks are asked for again. */
const AHEAD_BYTES = 4 * 1024 * 1024;
const AHEAD_FRAMES = 128;

/**
 * Takes one part of an archive into the store: see ContentStore.unpackPart. Errors: `bad_data` for a file that is no
 * part, is cut off, or holds other than it declares.
 */
export async function unpackPart(store: Store, path: string, onProgress: OnProgress, growing?: Growing): Promise<Unpacked> {
  const bases: Bases = { reader: createBaseReader(store), room: makeDictionaryRoom() };
  return withWriteSession(store, `unpacking ${path}`, async (session) => {
    const counted: Counted = { chunks: 0, rawBytes: 0, skippedFrames: 0, frames: 0 };
    for await (const { frame, header } of readPart(path, bases.reader, growing)) {
      await storeFrame(frame, bases, session, counted);
      if (counted.frames > header.frames || counted.rawBytes > header.rawBytes) throw badPart(path, 'holds more than it declares');
      onProgress(counted.rawBytes, header.rawBytes);
    }
    if (growing !== undefined) await confirmation(path, growing);
    await session.finish();
    return { chunks: counted.chunks, rawBytes: counted.rawBytes, skippedFrames: counted.skippedFrames };
  });
}

/** Parts that are unpacked while they grow: until one is said to be right nothing of it is visible. */
export function createGrowing(store: Store): {
  unpack(path: string, sizeBytes: number, onProgress: OnProgress): Promise<Unpacked>;
  confirm(path: string): void;
  stop(path: string): void;
} {
  const waiting = new Map<string, { readonly stop: AbortController; readonly confirm: () => void }>();
  return {
    unpack: (path, sizeBytes, onProgress) => {
      const stop = new AbortController();
      const { promise: confirmed, resolve: confirm } = Promise.withResolvers<void>();
      waiting.set(path, { stop, confirm });
      const signal = AbortSignal.any([stop.signal, store.signal]);
      return unpackPart(store, path, onProgress, { sizeBytes, signal, confirmed }).finally(() => waiting.delete(path));
    },
    confirm: (path) => waiting.get(path)?.confirm(),
    stop: (path) => waiting.get(path)?.stop.abort(),
  };
}

type Bases = { readonly reader: BaseReader; readonly room: Buffer };

async function storeFrame(frame: Frame, bases: Bases, session: WriteSession, counted: Counted): Promise<void> {
  counted.frames += 1;
  counted.rawBytes += frame.header.rawBytes;
  const chunks = await decode(frame, bases).catch(undefinedWhenBad);
  bases.reader.done(frame.header.bases);
  if (chunks === undefined) {
    // The run finds out what is still missing and asks for it in plain frames.
    counted.skippedFrames += 1;
    return release(frame.octets);
  }
  await session.putFrame(frame, chunks);
  counted.chunks += chunks.length;
}

/** A frame that does not come out right may be so itself, or one of its bases is: they are hashed then, and only then. */
async function decode({ header, payload }: Frame, { reader, room }: Bases): Promise<Chunk[]> {
  try {
    return await decodeAnyFrame(header, payload, reader.get, room);
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'bad_data' || header.bases.length === 0) throw error;
    return decodeAnyFrame(header, payload, reader.getChecked, room);
  }
}

async function* readPart(
  path: string,
  { expect }: BaseReader,
  growing: Growing | undefined,
): AsyncGenerator<{ frame: Frame; header: PartHeader }> {
  const source = growing === undefined ? await openWhole(path) : await openGrowing(path, growing);
  const { size } = source;
  try {
    if (size < PART_HEADER_BYTES + PART_TRAILER_BYTES || size > MAX_PART_BYTES) throw badPart(path, `has ${size} bytes`);
    const header = parsePartHeader(await source.read(0, PART_HEADER_BYTES));
    const checkTrailer = async () => parsePartTrailer(await source.read(size - PART_TRAILER_BYTES, PART_TRAILER_BYTES), header);
    // At once where it is there: what was cut off costs no work then.
    if (growing === undefined) await checkTrailer();
    const parser = createFrameParser();
    const end = size - PART_TRAILER_BYTES;
    let frames = 0;
    let rawBytes = 0;
    // What is there already is looked at before it is given: so the reader of bases knows what to keep.
    const ahead: Frame[] = [];
    let aheadBytes = 0;
    const isEnough = async (next: number): Promise<boolean> =>
      next >= end ||
      aheadBytes >= AHEAD_BYTES ||
      ahead.length >= AHEAD_FRAMES ||
      !(await source.isThere(Math.min(next + source.readBytes, end)));
    for (let offset = PART_HEADER_BYTES; offset < end; offset += source.readBytes) {
      for (const frame of parser.push(await source.read(offset, Math.min(source.readBytes, end - offset)))) {
        frames += 1;
        rawBytes += frame.header.rawBytes;
        expect(frame.header.bases);
        ahead.push(frame);
        aheadBytes += frame.octets.length;
      }
      while (ahead.length > 0 && (await isEnough(offset + source.readBytes))) {
        const frame = ahead.shift();
        if (frame === undefined) break;
        aheadBytes -= frame.octets.length;
        yield { frame, header };
      }
    }
    parser.finish();
    if (growing !== undefined) await checkTrailer();
    if (frames !== header.frames || rawBytes !== header.rawBytes) {
      throw badPart(path, `declares ${header.frames} frames of ${header.rawBytes} bytes and holds ${frames} of ${rawBytes}`);
    }
  } finally {
    await source.close();
  }
}

function badPart(path: string, what: string): AppError {
  return new AppError('bad_data', `the archive part ${path} ${what}`, { hint: 'remove it and fetch it again' });
}
