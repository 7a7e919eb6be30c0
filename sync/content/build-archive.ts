import type { OnProgress } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import type { ArchivePart } from '../../core/sync-protocol.ts';
import { type ChunkReader, createChunkReader, notHere } from './chunk-reader.ts';
import { createDigestSet, type DigestSet } from './digest-set.ts';
import { dataOf } from './export-disk.ts';
import { createFrameBuilder, createFrameQueue, type FrameBuilder } from './frame-queue.ts';
import { type DataExtent, readManifestData } from './manifest-reader.ts';
import { createPartWriter } from './part-writer.ts';
import type { Store } from './store.ts';

/** What to send, in canonical order; see `canonicalRequest` in archives.ts. */
export type Request = { readonly have: readonly Digest[]; readonly want: readonly Digest[]; readonly wantChunks: readonly Digest[] };

/**
 * Writes the parts for a request into a directory: roots and pages first (so that who has the first part
 * knows what belongs to the image), then data in disk order, then single chunks. All is encoded
 * anew, never copied from packs: the octets depend on the request, the content and the encoder alone.
 */
export async function buildParts(
  store: Store,
  request: Request,
  directory: string,
  onProgress: OnProgress,
): Promise<readonly ArchivePart[]> {
  const get = createChunkReader(store);
  const writer = createPartWriter(directory);
  const queue = createFrameQueue(writer.append, store.signal);
  const frames = createFrameBuilder(queue);
  try {
    const known = await markKnown(store, get, request.have);
    const totalBytes = await addPages(request.want, get, { known, frames });
    await frames.flush();
    await addData(request.want, get, { known, frames }, (done) => onProgress(done, totalBytes));
    await addChunks(request.wantChunks, get, { known, frames });
    await frames.flush();
    await queue.drain();
    return await writer.finish();
  } finally {
    await queue.settle();
    await writer.abort();
  }
}

/** Everything the receiver has. Manifests that are not here are ignored: then more is sent, nothing wrong. */
async function markKnown(store: Store, get: ChunkReader, have: readonly Digest[]): Promise<DigestSet> {
  const known = createDigestSet();
  for (const manifest of have) {
    const visitPage = (digest: Digest): boolean => store.index.has(digest) && known.add(digest);
    for await (const { digest } of readManifestData(get, manifest, visitPage)) known.add(digest);
  }
  return known;
}

type Target = { readonly known: DigestSet; readonly frames: FrameBuilder };

/** Sends roots and pages that are not known; gives the octets of data still to come. */
async function addPages(want: readonly Digest[], get: ChunkReader, { known, frames }: Target): Promise<number> {
  const sending = async (digest: Digest): Promise<Buffer> => {
    const bytes = await get(digest);
    await frames.add({ digest, bytes });
    return bytes;
  };
  let dataBytes = 0;
  for (const manifest of want) {
    for await (const extent of readManifestData(sending, manifest, known.add)) {
      if (!known.has(extent.digest)) dataBytes += extent.length;
    }
  }
  return dataBytes;
}

async function addData(
  want: readonly Digest[],
  get: ChunkReader,
  { known, frames }: Target,
  onDone: (bytes: number) => void,
): Promise<void> {
  let done = 0;
  for await (const { digest, bytes } of dataOf(unknownData(want, get, known), get)) {
    await frames.add({ digest, bytes });
    done += bytes.length;
    onDone(done);
  }
}

async function* unknownData(want: readonly Digest[], get: ChunkReader, known: DigestSet): AsyncGenerator<DataExtent> {
  const walked = createDigestSet();
  for (const manifest of want) {
    for await (const extent of readManifestData(get, manifest, walked.add)) {
      if (known.add(extent.digest)) yield extent;
    }
  }
}

async function addChunks(digests: readonly Digest[], get: ChunkReader, { known, frames }: Target): Promise<void> {
  for (const digest of digests) if (known.add(digest)) await frames.add({ digest, bytes: await get(digest) });
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
