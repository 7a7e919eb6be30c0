import { chunkDigest } from '../../core/content/frame.ts';
import { type DiskRoot, parseRoot, type Root, treesOf } from '../../core/content/manifest.ts';
import { type Extent, readExtents, type WalkOptions } from '../../core/content/page-tree.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import type { ChunkReader } from './chunk-reader.ts';

/** The canonical JSON of a root. Errors: `not_found`, `corrupt`, `bad_data` when the chunk is no root. */
export async function readRootText(get: ChunkReader, manifest: Digest): Promise<string> {
  const octets = await get(manifest);
  if (chunkDigest(octets) !== manifest) throw new AppError('corrupt', `manifest ${manifest} is damaged`);
  return octets.toString('utf8');
}

export async function readRoot(get: ChunkReader, manifest: Digest): Promise<Root> {
  return parseRoot(await readRootText(get, manifest));
}

export async function readDiskRoot(get: ChunkReader, manifest: Digest): Promise<DiskRoot> {
  const root = await readRoot(get, manifest);
  if (root.kind !== 'disk') throw new AppError('bad_data', `image ${manifest} is a ${root.kind}, not a disk`);
  return root;
}

export type DataExtent = Extent & { readonly kind: 'data' };
export type VisitPage = NonNullable<WalkOptions['visitPage']>;

/**
 * The data that a manifest names, in order. `visitPage` is asked for the root and each page before it is
 * read; false leaves it out with all below it.
 */
export async function* readManifestData(get: ChunkReader, manifest: Digest, visitPage: VisitPage): AsyncGenerator<DataExtent> {
  if (!visitPage(manifest, 0, 0, 0)) return;
  for (const tree of treesOf(await readRoot(get, manifest))) {
    for await (const extent of readExtents(tree, get, { visitPage })) {
      if (extent.kind === 'data') yield extent;
    }
  }
}
