import { findCounterparts } from '../../core/content/delta/counterparts.ts';
import type { FileMap } from '../../core/content/delta/file-map.ts';
import type { LendChunk } from '../../core/content/delta-frame.ts';
import type { Encoder } from '../../core/content/encoder.ts';
import type { OnProgress } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import type { ArchivePart } from '../../core/sync-protocol.ts';
import { createBaseChooser, listBasePages, mapBases } from './base-images.ts';
import { createChunkLender } from './chunk-lender.ts';
import { type ChunkReader, createChunkReader, notHere, undefinedWhenBad } from './chunk-reader.ts';
import { createDeltaCoder, type DeltaCoder, type Elect, electByVotes, electPages } from './delta-encoder.ts';
import { createDigestSet, type DigestSet } from './digest-set.ts';
import { DATA_FRAMES, dataOf } from './export-disk.ts';
import { readFileMap } from './file-hints.ts';
import { createFrameBuilder, createFrameQueue, type FrameQueue } from './frame-queue.ts';
import { type DataExtent, readManifestData, type VisitPage } from './manifest-reader.ts';
import { createPartWriter } from './part-writer.ts';
import type { Store } from './store.ts';

/** What to send, in canonical order; see `canonicalRequest` in archives.ts. */
export type Request = {
  readonly have: readonly Digest[];
  readonly want: readonly Digest[];
  readonly wantChunks: readonly Digest[];
  readonly encoder: Encoder;
};

/**
 * Writes the parts for a request into a directory: roots and pages first (so that who has the first part
 * knows what belongs to the image), then data in disk order, then single chunks. All is encoded
 * anew, never copied from packs, against what the receiver has: the octets depend on the request, the
 * content and the encoder alone.
 */
export async function buildParts(
  store: Store,
  request: Request,
  directory: string,
  onProgress: OnProgress,
): Promise<readonly ArchivePart[]> {
  const get = createChunkReader(store, { cachedFrames: PAGE_FRAMES });
  const writer = createPartWriter(directory, request.encoder);
  const queue = createFrameQueue(writer.append, store.signal);
  const [data, base] = [createChunkLender(store, DATA_FRAMES), createChunkLender(store, BASE_FRAMES)];
  const coder = createDeltaCoder(base.lend);
  try {
    const known = await markKnown(store, get, request.have);
    const work: Work = { store, get, lend: data.lend, lendBase: base.lend, coder, known, queue };
    const bases = await chooseAllBases(store, get, request);
    const totalBytes = await addPages(request.want, bases, work);
    await addData(request.want, bases, work, (done, ofBases) => onProgress(done + ofBases, totalBytes + ofBases));
    await addChunks(request.wantChunks, work);
    await queue.drain();
    return await writer.finish();
  } finally {
    await queue.settle();
    await writer.abort();
    for (const one of [data, base, coder]) one.close();
  }
}

/** Decoded frames kept: of pages, which lie together, and of base chunks (and blocks of file systems), which do not. */
const PAGE_FRAMES = 8;
const BASE_FRAMES = 10;

/** Everything the receiver has. Manifests that are not here are ignored: then more is sent, nothing wrong. */
async function markKnown(store: Store, get: ChunkReader, have: readonly Digest[]): Promise<DigestSet> {
  const known = createDigestSet();
  for (const manifest of have) {
    const visitPage = (digest: Digest): boolean => store.index.has(digest) && known.add(digest);
    for await (const { digest } of readManifestData(get, manifest, visitPage)) known.add(digest);
  }
  return known;
}

type Work = {
  readonly store: Store;
  readonly get: ChunkReader;
  readonly lend: LendChunk;
  readonly lendBase: LendChunk;
  readonly coder: DeltaCoder;
  readonly known: DigestSet;
  readonly queue: FrameQueue;
};
type Bases = ReadonlyMap<Digest, readonly Digest[]>;

async function chooseAllBases(store: Store, get: ChunkReader, { have, want, encoder }: Request): Promise<Bases> {
  const bases = new Map<Digest, readonly Digest[]>();
  if (encoder.delta === undefined) return bases;
  const choose = createBaseChooser(store, get, have);
  for (const manifest of want) bases.set(manifest, await choose(manifest));
  return bases;
}

/** Sends roots and pages that are not known; gives the octets of data still to come. */
async function addPages(want: readonly Digest[], bases: Bases, { store, get, coder, known, queue }: Work): Promise<number> {
  let dataBytes = 0;
  for (const manifest of want) {
    const pages = await listBasePages(store, get, bases.get(manifest) ?? []);
    const frames = createFrameBuilder(queue, pages.length === 0 ? undefined : coder.encoder(electPages(pages, get)));
    let place = 0;
    const visitPage: VisitPage = (digest, _depth, _length, offset) => {
      place = offset;
      return known.add(digest);
    };
    const sending = async (digest: Digest): Promise<Buffer> => {
      const bytes = await get(digest);
      await frames.add({ digest, bytes, offset: place });
      return bytes;
    };
    for await (const extent of readManifestData(sending, manifest, visitPage)) {
      if (!known.has(extent.digest)) dataBytes += extent.length;
    }
    await frames.flush();
  }
  return dataBytes;
}

async function addData(want: readonly Digest[], bases: Bases, work: Work, onDone: (bytes: number, ofBases: number) => void): Promise<void> {
  const { lend, known, queue, coder } = work;
  let done = 0;
  let ofBases = 0;
  for (const manifest of want) {
    const before = ofBases;
    const elect = await electorFor(manifest, bases.get(manifest) ?? [], work, (bytes) => {
      ofBases = before + bytes;
      onDone(done, ofBases);
    });
    const frames = createFrameBuilder(queue, elect && coder.encoder(elect));
    for await (const { digest, bytes, offset } of dataOf(unknownData(manifest, work), lend)) {
      if (!known.add(digest)) continue;
      await frames.add({ digest, bytes, offset });
      done += bytes.length;
      onDone(done, ofBases);
    }
    await frames.flush();
  }
}

/** Reading the whole base pays only when something is to be coded against it. */
async function electorFor(
  manifest: Digest,
  bases: readonly Digest[],
  work: Work,
  onBytes: (bytes: number) => void,
): Promise<Elect | undefined> {
  if (bases.length === 0 || !(await hasUnknownData(manifest, work))) return undefined;
  const { store, get, lend, lendBase } = work;
  const readers = { get, lend: lendBase };
  const base = await mapBases(store, { get, lend }, bases, onBytes);
  const wanted = await readFileMap(readers, manifest);
  if (wanted.files === 0) return electByVotes(base);
  const maps: (FileMap | undefined)[] = [];
  // A damaged base has no file map: its blocks and places still count.
  for (const one of bases) maps.push(await readFileMap(readers, one).catch(undefinedWhenBad));
  return electByVotes(base, findCounterparts(wanted, maps));
}

async function hasUnknownData(manifest: Digest, work: Work): Promise<boolean> {
  for await (const _ of unknownData(manifest, work)) return true;
  return false;
}

async function* unknownData(manifest: Digest, { get, known }: Work): AsyncGenerator<DataExtent> {
  for await (const extent of readManifestData(get, manifest, () => true)) {
    if (!known.has(extent.digest)) yield extent;
  }
}

async function addChunks(digests: readonly Digest[], { get, known, queue }: Work): Promise<void> {
  const frames = createFrameBuilder(queue);
  for (const digest of digests) if (known.add(digest)) await frames.add({ digest, bytes: await get(digest) });
  await frames.flush();
}

/** Throws `not_found` naming the first wanted manifest or chunk that is not here. */
export function requireWanted(store: Store, request: Request): void {
  for (const manifest of request.want) {
    if (!store.index.has(manifest)) {
      throw new AppError('not_found', `image ${manifest} is not in this store`, { hint: 'ask for what the catalogue names' });
    }
  }
  const missing = request.wantChunks.find((digest) => !store.index.has(digest));
  if (missing !== undefined) throw notHere(missing);
}
