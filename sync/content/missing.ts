import { parseRoot, treesOf } from '../../core/content/manifest.ts';
import { type Entry, parsePage } from '../../core/content/page.ts';
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
  const broken = createDigestSet();
  const complete: Digest[] = [];
  const total: Count = { chunks: 0, rawBytes: 0 };
  const get = createChunkReader(store);

  /** Whether it is here with all below it. What several manifests share is counted and looked through once. */
  async function visit(digest: Digest, depth: number, length: number): Promise<boolean> {
    if (!seen.add(digest)) return !broken.has(digest);
    if (store.index.has(digest)) {
      const isWhole = depth < 0 || (await visitAll(parsePage(await get(digest), depth).entries, depth - 1));
      if (!isWhole) broken.add(digest);
      return isWhole;
    }
    total.chunks += 1;
    total.rawBytes += length;
    broken.add(digest);
    return false;
  }

  async function visitAll(entries: readonly Entry[], depth: number): Promise<boolean> {
    let isWhole = true;
    for (const entry of entries) if ('digest' in entry && !(await visit(entry.digest, depth, entry.length))) isWhole = false;
    return isWhole;
  }

  for (const manifest of manifests) {
    if (!store.index.has(manifest)) {
      if (seen.add(manifest)) total.chunks += 1;
      continue;
    }
    let isWhole = true;
    for (const tree of treesOf(parseRoot((await get(manifest)).toString('utf8')))) {
      if (!(await visit(tree.page, tree.depth, 0))) isWhole = false;
    }
    if (isWhole) complete.push(manifest);
  }
  return { ...total, complete };
}
