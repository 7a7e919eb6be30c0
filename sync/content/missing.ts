import { parseRoot, treesOf } from '../../core/content/manifest.ts';
import { parsePage } from '../../core/content/page.ts';
import type { Digest } from '../../core/ids.ts';
import { createChunkReader } from './chunk-reader.ts';
import { createDigestSet } from './digest-set.ts';
import type { Store } from './store.ts';

export type Missing = { readonly chunks: number; readonly rawBytes: number; readonly complete: readonly Digest[] };

type Count = { chunks: number; rawBytes: number };

/**
 * What of these manifests is not here. Below a page that is missing only the page can be counted, with
 * the octets of the image that it covers; a missing root counts as one chunk of unknown size. With `areToStay` no collection,
 * under way or next, takes what is found.
 */
export async function missingOf(
  store: Store,
  manifests: readonly Digest[],
  { areToStay = false }: { readonly areToStay?: boolean } = {},
): Promise<Missing> {
  // Before the first look: what a collection takes until here is seen to be gone.
  if (areToStay) store.pins.keepRoots(manifests);
  const seen = createDigestSet();
  const complete: Digest[] = [];
  const total: Count = { chunks: 0, rawBytes: 0 };
  for (const manifest of manifests) {
    const before = total.chunks;
    await countManifest(store, manifest, total, seen.add);
    // Shared with an earlier manifest, and counted there: ask again for this one alone.
    if (total.chunks === before && (before === 0 || (await isComplete(store, manifest)))) complete.push(manifest);
  }
  return { ...total, complete };
}

async function isComplete(store: Store, manifest: Digest): Promise<boolean> {
  const own: Count = { chunks: 0, rawBytes: 0 };
  await countManifest(store, manifest, own, createDigestSet().add);
  return own.chunks === 0;
}

async function countManifest(store: Store, manifest: Digest, total: Count, isNew: (digest: Digest) => boolean): Promise<void> {
  const get = createChunkReader(store);
  if (!store.index.has(manifest)) {
    if (isNew(manifest)) total.chunks += 1;
    return;
  }
  const visit = async (digest: Digest, depth: number, length: number): Promise<void> => {
    if (!isNew(digest)) return;
    if (!store.index.has(digest)) {
      total.chunks += 1;
      total.rawBytes += length;
      return;
    }
    if (depth < 0) return;
    for (const entry of parsePage(await get(digest), depth).entries) {
      if ('digest' in entry) await visit(entry.digest, depth - 1, entry.length);
    }
  };
  for (const tree of treesOf(parseRoot((await get(manifest)).toString('utf8')))) await visit(tree.page, tree.depth, 0);
}
