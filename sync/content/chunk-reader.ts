import { open } from 'node:fs/promises';
import { decodeFrame, MAX_FRAME_BYTES, type OpenFrame, openFrame } from '../../core/content/frame.ts';
import { type Frame, type FrameReading, parseFrame } from '../../core/content/frame-reader.ts';
import { release } from '../../core/content/release.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import type { Location } from './content-index.ts';
import { asStoreError } from './durable.ts';
import { mendPack } from './mend.ts';
import { packPath, type Store } from './store.ts';

/** Decoded frames kept, about 1 MiB each: neighbours are asked for one after the other. */
const CACHED_FRAMES = 24;

export type ChunkReader = (digest: Digest) => Promise<Buffer>;

export type ReaderOptions = {
  readonly cachedFrames?: number;
  /**
   * What is hashed: the whole `frame` (default), or only each `chunk` that is given, for who uses few of each frame, or `nothing`, for
   * who finds out by what is made of them. Damage in what is not hashed goes unseen. Without the whole frame, what it gave may be gone
   * once `cachedFrames` others were read.
   */
  readonly hashes?: 'frame' | 'chunk' | 'nothing';
  /** Told of each frame once, before anything of it is given. */
  readonly onDecoded?: (frame: OpenFrame) => void;
};

/**
 * A reader of chunks: each is checked against its digest on every decode, as far as `hashes` says. With two copies, a damaged one
 * is passed over. Errors: `not_found` when no copy is here, `corrupt` when none is right.
 */
export function createChunkReader(store: Store, options: ReaderOptions = {}): ChunkReader {
  const { cachedFrames = CACHED_FRAMES, hashes = 'frame', onDecoded } = options;
  const cache = new Map<string, Promise<OpenFrame>>();
  const decode = hashes === 'frame' ? decodeFrameAt : openFrameAt;

  function decoded(location: Location): Promise<OpenFrame> {
    const key = `${location.pack}:${location.offset}`;
    const known = cache.get(key);
    cache.delete(key);
    const chunks = known ?? decode(store, location).then(told);
    cache.set(key, chunks);
    const [oldest] = cache.keys();
    if (cache.size > cachedFrames && oldest !== undefined) {
      cache.get(oldest)?.then(closeFrame, () => undefined);
      cache.delete(oldest);
    }
    return chunks;
  }

  function told(frame: OpenFrame): OpenFrame {
    onDecoded?.(frame);
    return frame;
  }

  return (digest) =>
    fromAnyCopy(store, digest, async (location) => {
      const frame = await decoded(location);
      const chunk = hashes === 'nothing' ? frame.peekAt(location.position) : frame.chunkAt(location.position);
      if (chunk?.digest !== digest) throw new AppError('corrupt', `the index says ${digest} is where another chunk lies`);
      return chunk.bytes;
    });
}

function closeFrame(frame: OpenFrame): void {
  frame.close();
}

async function decodeFrameAt(store: Store, location: Location): Promise<OpenFrame> {
  const { header, payload } = await readFrameAt(store, location);
  const chunks = await decodeFrame(header, payload);
  if (chunks[0]?.bytes.buffer !== payload.buffer) release(payload);
  const chunkAt = (position: number) => chunks[position];
  return { chunks: header.chunks, chunkAt, peekAt: chunkAt, close: () => undefined };
}

/** The frame there, of which only what is asked for is hashed. */
export async function openFrameAt(store: Store, location: Location): Promise<OpenFrame> {
  const { header, payload } = await readFrameAt(store, location, { isPayloadChecked: false });
  return openFrame(header, payload);
}

type Tried<Result> = { readonly found?: { readonly value: Result }; readonly failure?: AppError; readonly hurt: readonly string[] };

/** Mending may move what the next look needs; more looks than this are a disk that fails faster than we mend. */
const LOOKS = 3;

/**
 * Tries `read` on each copy of a chunk until one is right. Packs in which it failed are mended when somebody listens
 * for damage, and then it looks again: the chunk may lie elsewhere now, or have been saved.
 */
export async function fromAnyCopy<Result>(store: Store, digest: Digest, read: (location: Location) => Promise<Result>): Promise<Result> {
  let failure: AppError | undefined;
  for (let look = 0; look < LOOKS; look++) {
    const tried = await tryCopies(store, digest, read);
    if (tried.found === undefined) failure = failure?.code === 'corrupt' ? failure : (tried.failure ?? failure);
    const isMended = await mendHurt(store, tried.hurt);
    if (tried.found) return tried.found.value;
    // Garbage collection and repair move live chunks: their old pack is gone only after the new rows are there.
    if (tried.hurt.length === 0 || (!isMended && failure?.code !== 'not_found')) break;
  }
  store.onDamage?.({ damages: [], lost: [digest] });
  throw failure ?? notHere(digest);
}

async function tryCopies<Result>(store: Store, digest: Digest, read: (location: Location) => Promise<Result>): Promise<Tried<Result>> {
  const hurt: string[] = [];
  let failure: AppError | undefined;
  for (const location of store.index.locate(digest)) {
    try {
      return { found: { value: await read(location) }, hurt };
    } catch (error) {
      failure = damagedChunk(error, digest, location);
      if (failure.code === 'corrupt' || failure.code === 'not_found') hurt.push(location.pack);
    }
  }
  return { hurt, ...(failure === undefined ? {} : { failure }) };
}

/** True when somebody listens, and so everything was looked at. */
async function mendHurt(store: Store, packs: readonly string[]): Promise<boolean> {
  if (store.onDamage === undefined || packs.length === 0) return false;
  for (const pack of packs) {
    const found = await mendPack(store, pack);
    if (found.damages.length > 0) store.onDamage(found);
  }
  return true;
}

export function notHere(digest: Digest): AppError {
  return new AppError('not_found', `chunk ${digest} is not in this store`, {
    hint: 'a branch fetches it again by itself; elsewhere import the image again',
  });
}

function damagedChunk(error: unknown, digest: Digest, location: Location): AppError {
  const known = asStoreError(error, `reading pack ${location.pack}`);
  if (known.code !== 'bad_data' && known.code !== 'corrupt') return known;
  return new AppError('corrupt', `chunk ${digest} is damaged: pack ${location.pack} at ${location.offset}: ${known.message}`, {
    hint: 'a branch fetches it again by itself; waystation store check --repair does it now and says what stays lost',
    cause: error,
  });
}

/** The frame that the index places there, header and (unless the caller does without) payload checked. Throws `bad_data`, and what the file system says. */
export async function readFrameAt(store: Store, location: Location, reading: FrameReading = {}): Promise<Frame> {
  // The numbers come from the index: damaged ones must not make us allocate or seek wildly.
  if (location.frameBytes > MAX_FRAME_BYTES || location.offset < 0) throw new AppError('bad_data', 'the index names an impossible place');
  const octets = Buffer.allocUnsafe(location.frameBytes);
  const file = await open(packPath(store.paths, location.pack), 'r');
  try {
    let done = 0;
    while (done < octets.length) {
      const { bytesRead } = await file.read(octets, done, octets.length - done, location.offset + done);
      if (bytesRead === 0) throw new AppError('bad_data', 'the pack ends inside a frame');
      done += bytesRead;
    }
  } finally {
    await file.close();
  }
  return parseFrame(octets, reading);
}

/** For readers of a base: what is damaged or missing is done without, whoever read it has told of it. Throws on anything else. */
export function undefinedWhenBad(error: unknown): undefined {
  if (error instanceof AppError && (error.code === 'corrupt' || error.code === 'not_found')) return undefined;
  throw error;
}
