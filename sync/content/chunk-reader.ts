import { open } from 'node:fs/promises';
import { type Chunk, decodeFrame, MAX_FRAME_BYTES } from '../../core/content/frame.ts';
import { type Frame, parseFrame } from '../../core/content/frame-reader.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import type { Location } from './content-index.ts';
import { asStoreError } from './durable.ts';
import { packPath, type Store } from './store.ts';

/** Decoded frames kept, about 1 MiB each: neighbours are asked for one after the other. */
const CACHED_FRAMES = 24;

export type ChunkReader = (digest: Digest) => Promise<Buffer>;

/**
 * A reader of chunks: each is checked against its digest on every decode. With two copies, a damaged one
 * is passed over. Errors: `not_found` when no copy is here, `corrupt` when none is right.
 */
export function createChunkReader(store: Store): ChunkReader {
  const cache = new Map<string, Promise<readonly Chunk[]>>();

  function decoded(location: Location): Promise<readonly Chunk[]> {
    const key = `${location.pack}:${location.offset}`;
    const known = cache.get(key);
    cache.delete(key);
    const chunks = known ?? readFrameAt(store, location).then((frame) => decodeFrame(frame.header, frame.payload));
    cache.set(key, chunks);
    const [oldest] = cache.keys();
    if (cache.size > CACHED_FRAMES && oldest !== undefined) cache.delete(oldest);
    return chunks;
  }

  return (digest) =>
    fromAnyCopy(store, digest, async (location) => {
      const chunk = (await decoded(location))[location.position];
      if (chunk?.digest !== digest) throw new AppError('corrupt', `the index says ${digest} is where another chunk lies`);
      return chunk.bytes;
    });
}

/** Tries `read` on each copy of a chunk until one is right; once more when packs moved under it. */
export async function fromAnyCopy<Result>(store: Store, digest: Digest, read: (location: Location) => Promise<Result>): Promise<Result> {
  let failure: unknown;
  for (let attempt = 0; attempt < 2; attempt++) {
    for (const location of store.index.locate(digest)) {
      try {
        return await read(location);
      } catch (error) {
        failure = damagedChunk(error, digest, location);
      }
    }
    // Garbage collection and repair move live chunks: their old pack is gone only after the new rows are there.
    if (!(failure instanceof AppError && failure.code === 'not_found')) break;
  }
  throw failure ?? notHere(digest);
}

export function notHere(digest: Digest): AppError {
  return new AppError('not_found', `chunk ${digest} is not in this store`, { hint: 'replicate or import the image again' });
}

function damagedChunk(error: unknown, digest: Digest, location: Location): AppError {
  const known = asStoreError(error, `reading pack ${location.pack}`);
  if (known.code !== 'bad_data' && known.code !== 'corrupt') return known;
  return new AppError('corrupt', `chunk ${digest} is damaged: pack ${location.pack} at ${location.offset}: ${known.message}`, {
    hint: 'run waystation store check --repair, then replicate or import the image again',
    cause: error,
  });
}

/** The frame that the index places there, header and payload checked. Throws `bad_data`, and what the file system says. */
export async function readFrameAt(store: Store, location: Location): Promise<Frame> {
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
  return parseFrame(octets);
}
