import { readExtents } from '../../core/content/page-tree.ts';
import { readTreeFiles } from '../../core/content/tree-files.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import { createChunkReader, fromAnyCopy, notHere, readFrameAt } from './chunk-reader.ts';
import { readRoot } from './manifest-reader.ts';
import type { Store } from './store.ts';

export type OpenedFile = { readonly sizeBytes: number; readonly slices: AsyncGenerator<Uint8Array> };

/** One file of a tree image: see ContentStore.openFile. */
export async function openFile(store: Store, manifest: Digest, path: string): Promise<OpenedFile | undefined> {
  const get = createChunkReader(store);
  const root = await readRoot(get, manifest);
  if (root.kind === 'disk') throw new AppError('bad_data', `image ${manifest} is a disk, it has no files`);
  for await (const file of readTreeFiles(root, get)) {
    if (file.path !== path) continue;
    const { offset, sizeBytes } = file;
    const tree = root.tree;
    return { sizeBytes, slices: tree ? readRange(readExtents(tree, get, { from: offset }), get, { offset, sizeBytes }) : nothing() };
  }
  return undefined;
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

const ZEROS = Buffer.alloc(256 * 1024);

/** The octets from `offset` on, `sizeBytes` of them; files begin and end where extents do. */
async function* readRange(
  extents: ReturnType<typeof readExtents>,
  get: (digest: Digest) => Promise<Buffer>,
  range: { offset: number; sizeBytes: number },
): AsyncGenerator<Uint8Array> {
  let left = range.sizeBytes;
  if (left === 0) return;
  for await (const extent of extents) {
    if (extent.length > left) throw new AppError('bad_data', 'a file of the image ends inside an extent');
    if (extent.kind === 'data') yield await get(extent.digest);
    else for (let at = 0; at < extent.length; at += ZEROS.length) yield ZEROS.subarray(0, Math.min(ZEROS.length, extent.length - at));
    left -= extent.length;
    if (left === 0) return;
  }
  throw new AppError('bad_data', 'the image ends inside a file');
}

/**
 * The frames that hold these chunks: see ContentStore.readFrames. The first missing chunk is told before
 * anything is read; packs stay pinned until the stream ends.
 */
export function readFrames(store: Store, digests: readonly Digest[]): AsyncGenerator<Uint8Array> {
  const packs = new Set<string>();
  for (const digest of digests) {
    const locations = store.index.locate(digest);
    if (locations.length === 0) throw notHere(digest);
    for (const { pack } of locations) packs.add(pack);
  }
  return sendFrames(store, digests, packs);
}

async function* sendFrames(store: Store, digests: readonly Digest[], packs: ReadonlySet<string>): AsyncGenerator<Uint8Array> {
  for (const pack of packs) store.pins.pinPack(pack);
  try {
    const sent = new Set<Digest>();
    for (const digest of digests) {
      if (sent.has(digest)) continue;
      const frame = await fromAnyCopy(store, digest, async (location) => {
        const found = await readFrameAt(store, location);
        if (found.header.chunks[location.position]?.digest !== digest)
          throw new AppError('corrupt', 'another chunk lies where the index says');
        return found;
      });
      for (const chunk of frame.header.chunks) sent.add(chunk.digest);
      yield frame.octets;
    }
  } finally {
    for (const pack of packs) store.pins.unpinPack(pack);
  }
}
