import type { OpenFrame } from '../../core/content/frame.ts';
import { release } from '../../core/content/release.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import { type ChunkReader, createChunkReader } from './chunk-reader.ts';
import type { Store } from './store.ts';

/** Gives base chunks to whoever reads delta frames and knows which come next. */
export type BaseReader = {
  /** These will be asked for: when a frame is decoded, what is expected of it is kept, and it need not be decoded again. */
  expect(digests: readonly Digest[]): void;
  /** Each chunk is checked before it is first given. What it gave may be gone once it is `done` with. */
  readonly get: ChunkReader;
  /** Undoes one `expect`. */
  done(digests: readonly Digest[]): void;
};

/** Decoded frames held whole: for what is asked for at the same time, and what there was no room to keep. */
const WHOLE_FRAMES = 16;
const MOST_KEPT_BYTES = 40 * 1024 * 1024;

export function createBaseReader(store: Store): BaseReader {
  const expected = new Map<Digest, number>();
  const kept = new Map<Digest, Buffer>();
  let keptBytes = 0;

  function keep(frame: OpenFrame): void {
    frame.chunks.forEach(({ digest, length }, position) => {
      if (!expected.has(digest) || kept.has(digest) || keptBytes + length > MOST_KEPT_BYTES) return;
      const bytes = copyAt(frame, position);
      if (bytes === undefined) return;
      kept.set(digest, bytes);
      keptBytes += length;
    });
  }

  function forget(digest: Digest): void {
    expected.delete(digest);
    const bytes = kept.get(digest);
    if (bytes === undefined) return;
    kept.delete(digest);
    keptBytes -= bytes.length;
    release(bytes);
  }

  const read = createChunkReader(store, { cachedFrames: WHOLE_FRAMES, isSparse: true, onDecoded: keep });
  return {
    expect(digests) {
      for (const digest of digests) expected.set(digest, (expected.get(digest) ?? 0) + 1);
    },
    get: async (digest) => kept.get(digest) ?? read(digest),
    done(digests) {
      for (const digest of digests) {
        const left = (expected.get(digest) ?? 0) - 1;
        if (left > 0) expected.set(digest, left);
        else forget(digest);
      }
    },
  };
}

/** Whoever asks for a damaged chunk is told, and another copy is looked for: here it is only not kept. */
function copyAt(frame: OpenFrame, position: number): Buffer | undefined {
  try {
    const chunk = frame.chunkAt(position);
    if (chunk === undefined) return undefined;
    // Memory of its own, or it could not be given back.
    const bytes = Buffer.allocUnsafeSlow(chunk.bytes.length);
    chunk.bytes.copy(bytes);
    return bytes;
  } catch (error) {
    if (error instanceof AppError && error.code === 'bad_data') return undefined;
    throw error;
  }
}
