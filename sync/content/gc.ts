import { rm, stat } from 'node:fs/promises';
import type { GcReport, ManifestWeight, OnProgress } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import { createChunkReader } from './chunk-reader.ts';
import { createDigestSet, type DigestSet } from './digest-set.ts';
import { syncDirectory } from './durable.ts';
import { readManifestData } from './manifest-reader.ts';
import { rewritePack } from './rewrite-pack.ts';
import { packPath, type Store } from './store.ts';

export type GcOptions = { readonly roots: readonly Digest[]; readonly graceMs: number; readonly dryRun: boolean };

type Tally = { freedBytes: number; freedChunks: number; rewrittenPacks: number; keptBytes: number };

/** A pack is rewritten when less than this part of its raw bytes is wanted. */
const REWRITE_BELOW = 0.5;

/**
 * Marks what the roots need, then sweeps pack by pack: a pack with nothing wanted goes, one that is mostly
 * unwanted is rewritten. Left alone are packs younger than the grace (written, or relied on by an import, that
 * lately) and packs that an operation under way relies on; manifests being read count as roots. While the clock has
 * jumped forward within the grace, everything counts as young.
 */
export async function collectGarbage(store: Store, options: GcOptions, onProgress: OnProgress): Promise<GcReport> {
  if (store.collecting.isTaken()) {
    throw new AppError('busy', 'a collection is under way in this store', { hint: 'wait for it to end' });
  }
  return store.collecting.take(() => collect(store, options, onProgress));
}

async function collect(store: Store, options: GcOptions, onProgress: OnProgress): Promise<GcReport> {
  const waitMs = options.graceMs - (await store.clock.steadyMs());
  if (waitMs > 0) return { freedBytes: 0, freedChunks: 0, rewrittenPacks: 0, keptBytes: store.index.counts().bytes, waitMs };
  const wanted = createDigestSet();
  const marked = new Set<Digest>();
  const tally: Tally = { freedBytes: 0, freedChunks: 0, rewrittenPacks: 0, keptBytes: 0 };
  await markRoots(store, options.roots, wanted, marked);
  const packs = store.index.packs();
  for (const [done, pack] of packs.entries()) {
    if (store.signal.aborted) throw new AppError('cancelled', 'the store was closed');
    // Reading may have begun on a manifest since: its content counts before anything more goes.
    for (let late = unmarked(store, marked); late.length > 0; late = unmarked(store, marked)) await markRoots(store, late, wanted, marked);
    await store.moving.take(() => sweepPack(store, pack.name, { ...options, wanted, marked }, tally));
    onProgress(done + 1, packs.length);
  }
  if (!options.dryRun) await syncDirectory(store.paths.packs);
  return tally;
}

/** What each of these manifests holds that no kept one needs: see ContentStore.weigh. */
export async function weigh(store: Store, manifests: readonly Digest[], kept: readonly Digest[]): Promise<readonly ManifestWeight[]> {
  const wanted = createDigestSet();
  await markRoots(store, kept, wanted, new Set());
  const weights: ManifestWeight[] = [];
  for (const manifest of manifests) {
    const own = createDigestSet();
    let bytes = 0;
    const count = (digest: Digest): boolean => {
      if (!own.add(digest) || wanted.has(digest)) return false;
      bytes += store.index.storedBytes(digest);
      return store.index.has(digest);
    };
    for await (const { digest } of readManifestData(createChunkReader(store), manifest, count)) count(digest);
    weights.push({ manifest, bytes: Math.round(bytes) });
  }
  return weights;
}

function unmarked(store: Store, marked: ReadonlySet<Digest>): Digest[] {
  return store.pins.roots().filter((root) => !marked.has(root));
}

/** A root or page that is not here ends its branch of the walk; a damaged one stops the collection. */
async function markRoots(store: Store, roots: readonly Digest[], wanted: DigestSet, marked: Set<Digest>): Promise<void> {
  const get = createChunkReader(store);
  for (const root of roots) {
    marked.add(root);
    const visitPage = (digest: Digest): boolean => wanted.add(digest) && store.index.has(digest);
    for await (const { digest } of readManifestData(get, root, visitPage)) wanted.add(digest);
  }
}

type Sweep = GcOptions & { readonly wanted: DigestSet; readonly marked: ReadonlySet<Digest> };

async function sweepPack(store: Store, pack: string, sweep: Sweep, tally: Tally): Promise<void> {
  const path = packPath(store.paths, pack);
  const info = await stat(path).catch(undefinedWhenGone);
  // Mended since the list was made: its content lies in a younger pack.
  if (info === undefined) return;
  const isYoung = store.clock.wall() - info.mtimeMs < sweep.graceMs;
  const chunks = store.index.framesOf(pack).flatMap((frame) => frame.chunks);
  const live = chunks.filter((chunk) => sweep.wanted.has(chunk.digest));
  const liveBytes = live.reduce((sum, chunk) => sum + chunk.length, 0);
  const rawBytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const isLeft = isYoung || store.pins.isPackPinned(pack) || (live.length > 0 && liveBytes >= rawBytes * REWRITE_BELOW);
  if (isLeft) {
    tally.keptBytes += info.size;
    return;
  }
  const freedChunks = chunks.length - live.length;
  if (sweep.dryRun) {
    const keptBytes = rawBytes === 0 ? 0 : Math.round((info.size * liveBytes) / rawBytes);
    add(tally, { freedBytes: info.size - keptBytes, freedChunks, rewrittenPacks: live.length > 0 ? 1 : 0, keptBytes });
    return;
  }
  const isStill = (): boolean => !store.pins.isPackPinned(pack) && unmarked(store, sweep.marked).length === 0;
  if (live.length === 0) {
    if (!isStill()) return;
    store.index.removePack(pack);
    await rm(path);
    add(tally, { freedBytes: info.size, freedChunks, rewrittenPacks: 0, keptBytes: 0 });
    return;
  }
  const rewritten = await rewritePack(store, pack, { keep: sweep.wanted.has, isStill });
  if (rewritten === undefined) {
    tally.keptBytes += info.size;
    return;
  }
  await rm(path);
  add(tally, { freedBytes: info.size - rewritten.keptBytes, freedChunks, rewrittenPacks: 1, keptBytes: rewritten.keptBytes });
}

function undefinedWhenGone(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}

function add(tally: Tally, more: Tally): void {
  tally.freedBytes += more.freedBytes;
  tally.freedChunks += more.freedChunks;
  tally.rewrittenPacks += more.rewrittenPacks;
  tally.keptBytes += more.keptBytes;
}
