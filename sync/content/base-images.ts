import { crc32 } from 'node:zlib';
import { type BaseMap, blocksOf, createBaseMap } from '../../core/content/delta/base-map.ts';
import { createSketch, likeness, type Sketch } from '../../core/content/delta/sketch.ts';
import type { LendChunk, LentChunk } from '../../core/content/delta-frame.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import { type ChunkReader, undefinedWhenBad } from './chunk-reader.ts';
import { dataOf } from './export-disk.ts';
import { type DataExtent, readManifestData } from './manifest-reader.ts';
import type { Store } from './store.ts';

/** How many of the receiver's images one image is coded against, and octets of data in them: what the map of blocks may take in memory. */
const MOST_BASES = 2;
const MOST_BASE_BYTES = 32 * 1024 ** 3;

const NOTHING: LentChunk = { bytes: Buffer.alloc(0), giveBack: () => undefined };

/** Gives the receiver's images that share most with a wanted one, best first; of images that share nothing only the first in order. */
export type ChooseBases = (wanted: Digest) => Promise<readonly Digest[]>;

/** Each image is looked through once, however many are wanted. */
export function createBaseChooser(store: Store, get: ChunkReader, have: readonly Digest[]): ChooseBases {
  const sketches: { readonly manifest: Digest; readonly sketch: Sketch }[] = [];
  return async (wanted) => {
    if (have.length <= 1) return have;
    for (const manifest of have.slice(sketches.length)) sketches.push({ manifest, sketch: await sketchOf(store, get, manifest) });
    const sketch = await sketchOf(store, get, wanted);
    const ranked = sketches.map((one) => ({ manifest: one.manifest, shared: likeness(sketch, one.sketch) }));
    ranked.sort((a, b) => b.shared - a.shared || (a.manifest < b.manifest ? -1 : 1));
    return ranked.filter(({ shared }, rank) => rank === 0 || (rank < MOST_BASES && shared > 0)).map(({ manifest }) => manifest);
  };
}

/** The data of an image as far as its pages are here. */
function dataHere(store: Store, get: ChunkReader, manifest: Digest): AsyncGenerator<DataExtent> {
  return readManifestData(get, manifest, (digest) => store.index.has(digest));
}

async function sketchOf(store: Store, get: ChunkReader, manifest: Digest): Promise<Sketch> {
  const sketch = createSketch();
  for await (const { digest } of dataHere(store, get, manifest)) sketch.add(digest);
  return sketch.finish();
}

/** Reads these images whole and notes what blocks lie where. `onBytes` is told how much was read. */
export async function mapBases(
  store: Store,
  { get, lend }: { readonly get: ChunkReader; readonly lend: LendChunk },
  bases: readonly Digest[],
  onBytes: (bytes: number) => void,
): Promise<BaseMap> {
  const map = createBaseMap();
  const lendOrNothing: LendChunk = async (digest) => (await lend(digest).catch(undefinedWhenBad)) ?? NOTHING;
  let bytesRead = 0;
  for (const [number, manifest] of bases.entries()) {
    if (number > 0) map.nextImage();
    for await (const { digest, offset, bytes } of dataOf(dataHere(store, get, manifest), lendOrNothing)) {
      if (bytes.length === 0) continue;
      if (store.signal.aborted) throw new AppError('cancelled', 'the store was closed');
      map.add({ digest, offset, length: bytes.length }, sumsOf(bytes));
      bytesRead += bytes.length;
      onBytes(bytesRead);
      if (bytesRead > MOST_BASE_BYTES) return map;
    }
  }
  return map;
}

export function* sumsOf(bytes: Buffer): Generator<number> {
  for (const block of blocksOf(bytes)) yield crc32(block);
}

/** Pages of the receiver's images, in the order of the disk: what a new image's pages resemble. */
export type BasePages = { readonly digest: Digest; readonly offset: number }[];

export async function listBasePages(store: Store, get: ChunkReader, bases: readonly Digest[]): Promise<BasePages> {
  const pages: { digest: Digest; offset: number }[] = [];
  for (const manifest of bases) {
    const visitPage = (digest: Digest, _depth: number, _length: number, offset: number): boolean => {
      const isHere = store.index.has(digest);
      if (isHere) pages.push({ digest, offset });
      return isHere;
    };
    for await (const _ of readManifestData(get, manifest, visitPage));
  }
  return pages;
}
