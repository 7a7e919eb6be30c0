import type { OpenFrame } from '../../core/content/frame.ts';
import { release } from '../../core/content/release.ts';
import type { Digest } from '../../core/ids.ts';
import { type ChunkReader, createChunkReader } from './chunk-reader.ts';
import type { Store } from './store.ts';

/** Gives base chunks to whoever reads delta frames and knows which come next. */
export type BaseReader = {
  /** These will be asked for: when a frame is decoded, what is expected of it is kept, and it need not be decoded again. */
  expect(digests: readonly Digest[]): void;
  /**
   * Not hashed: what is decoded with a damaged base has other digests than it should have, and `getChecked` then tells which it was.
   * What it gave may be gone once it is `done` with.
   */
  readonly get: ChunkReader;
  /** Hashed, and read anew: another copy, if the first is damaged. */
  readonly getChecked: ChunkReader;
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

  const read = createChunkReader(store, { cachedFrames: WHOLE_FRAMES, hashes: 'nothing', onDecoded: keep });
  return {
    expect(digests) {
      for (const digest of digests) expected.set(digest, (expected.get(digest) ?? 0) + 1);
    },
    get: async (digest) => kept.get(digest) ?? read(digest),
    getChecked: createChunkReader(store, { cachedFrames: WHOLE_FRAMES, hashes: 'chunk' }),
    done(digests) {
      for (const digest of digests) {
        const left = (expected.get(digest) ?? 0) - 1;
        if (left > 0) expected.set(digest, left);
        else forget(digest);
      }
    },
  };
}

/** In memory of its own, or it could not be given back. */
function copyAt(frame: OpenFrame, position: number): Buffer | undefined {
  const chunk = frame.peekAt(position);
  if (chunk === undefined) return undefined;
  const bytes = Buffer.allocUnsafeSlow(chunk.bytes.length);
  chunk.bytes.copy(bytes);
  return bytes;
}
