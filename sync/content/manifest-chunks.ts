import { parseRoot, treesOf } from '../../core/content/manifest.ts';
import { parsePage } from '../../core/content/page.ts';
import type { ManifestChunks } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import { type ChunkReader, createChunkReader } from './chunk-reader.ts';
import { createDigestSet } from './digest-set.ts';
import type { Store } from './store.ts';

const MOST = 100_000;

/** Which chunks of these manifests are not here: see ContentStore.lackingOf. */
export async function lackingOf(store: Store, manifests: readonly Digest[]): Promise<readonly Digest[]> {
  const seen = createDigestSet();
  const lacking = new Set<Digest>();
  const walk = walker(store, {
    visit: (digest) => {
      if (!seen.add(digest)) return false;
      if (!store.index.has(digest)) lacking.add(digest);
      return store.index.has(digest);
    },
    onDamaged: (digest) => lacking.add(digest),
  });
  for (const manifest of manifests) {
    if (lacking.size >= MOST) break;
    await walk(manifest);
  }
  return [...lacking].slice(0, MOST);
}

/** Which of these chunks belong to which of these manifests: see ContentStore.ownersOf. */
export async function ownersOf(store: Store, digests: readonly Digest[], manifests: readonly Digest[]): Promise<readonly ManifestChunks[]> {
  const asked = new Set(digests);
  const owners: ManifestChunks[] = [];
  for (const manifest of manifests) {
    const seen = createDigestSet();
    const owned = new Set<Digest>();
    const walk = walker(store, {
      visit: (digest) => {
        if (asked.has(digest)) owned.add(digest);
        return seen.add(digest) && store.index.has(digest);
      },
      // Nothing below it can be seen: its owner is known, and more when it is back.
      onDamaged: () => undefined,
    });
    await walk(manifest);
    if (owned.size > 0) owners.push({ manifest, digests: [...owned] });
  }
  return owners;
}

type Visitor = {
  /** Asked for root, pages and data; for a page or root, whether to read it. */
  visit(digest: Digest): boolean;
  onDamaged(digest: Digest): void;
};

/** Walks a manifest from its root as far as it is here. */
function walker(store: Store, visitor: Visitor): (manifest: Digest) => Promise<void> {
  const get = createChunkReader(store);
  const visitPage = async (digest: Digest, depth: number): Promise<void> => {
    if (!visitor.visit(digest)) return;
    const page = await readable(get, digest, visitor);
    if (page === undefined) return;
    for (const entry of parsePage(page, depth).entries) {
      if (entry.kind === 'page') await visitPage(entry.digest, depth - 1);
      else if (entry.kind === 'data') visitor.visit(entry.digest);
    }
  };
  return async (manifest) => {
    if (!visitor.visit(manifest)) return;
    const root = await readable(get, manifest, visitor);
    if (root === undefined) return;
    for (const tree of treesOf(parseRoot(root.toString('utf8')))) await visitPage(tree.page, tree.depth);
  };
}

async function readable(get: ChunkReader, digest: Digest, visitor: Visitor): Promise<Buffer | undefined> {
  try {
    return await get(digest);
  } catch (error) {
    if (!(error instanceof AppError) || !['not_found', 'corrupt'].includes(error.code)) throw error;
    visitor.onDamaged(digest);
    return undefined;
  }
}
