import type { LendChunk } from '../../core/content/delta-frame.ts';
import type { OpenFrame } from '../../core/content/frame.ts';
import { AppError } from '../../core/errors.ts';
import { fromAnyCopy, openFrameAt } from './chunk-reader.ts';
import type { Location } from './content-index.ts';
import type { Store } from './store.ts';

/** A decoded frame, how many of its chunks are lent, and whether it has left the cache. */
type Entry = { readonly frame: Promise<OpenFrame>; lent: number; isOut: boolean };

export type ChunkLender = {
  readonly lend: LendChunk;
  /** Gives back what is not lent. */
  close(): void;
};

/**
 * Lends chunks to who reads much and is soon done with each: a frame's memory is given back at once when it is neither among the
 * `cachedFrames` used last nor anything of it lent. Left to the collector, frames of a megabyte pile up to a hundred. Only what is
 * lent is hashed. A chunk that is never given back costs its frame until the collector comes. Errors: as createChunkReader.
 */
export function createChunkLender(store: Store, cachedFrames: number): ChunkLender {
  const cache = new Map<string, Entry>();

  function lookUp(location: Location): Entry {
    const key = `${location.pack}:${location.offset}`;
    const entry = cache.get(key) ?? { frame: openFrameAt(store, location), lent: 0, isOut: false };
    cache.delete(key);
    cache.set(key, entry);
    keepNewest(cachedFrames);
    return entry;
  }

  function keepNewest(most: number): void {
    for (const [key, entry] of cache) {
      if (cache.size <= most) return;
      cache.delete(key);
      entry.isOut = true;
      closeUnused(entry);
    }
  }

  const lend: LendChunk = (digest) =>
    fromAnyCopy(store, digest, async (location) => {
      const entry = lookUp(location);
      entry.lent += 1;
      try {
        const chunk = (await entry.frame).chunkAt(location.position);
        if (chunk?.digest !== digest) throw new AppError('corrupt', `the index says ${digest} is where another chunk lies`);
        return { bytes: chunk.bytes, giveBack: () => giveBack(entry) };
      } catch (error) {
        giveBack(entry);
        throw error;
      }
    });

  return { lend, close: () => keepNewest(0) };
}

function giveBack(entry: Entry): void {
  entry.lent -= 1;
  closeUnused(entry);
}

function closeUnused({ frame, lent, isOut }: Entry): void {
  if (isOut && lent === 0)
    frame.then(
      ({ close }) => close(),
      () => undefined,
    );
}
