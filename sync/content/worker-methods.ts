import { stat, statfs } from 'node:fs/promises';
import type { CheckReport, OnProgress, ScrubPosition, StoreStats } from '../../core/content-store.ts';
import { type Digest, parseDigest } from '../../core/ids.ts';
import { type ArchiveLimits, type ArchiveRequest, createArchives, parseArchiveKey, removeUnfinishedArchives } from './archives.ts';
import { checkStore } from './check.ts';
import { createChunkReader } from './chunk-reader.ts';
import { exportDisk } from './export-disk.ts';
import { collectGarbage, type GcOptions, weigh } from './gc.ts';
import { importDisk } from './import-disk.ts';
import { importTree, type TreeSource } from './import-tree.ts';
import { linkPacks, unlinkPacks } from './link-packs.ts';
import { lackingOf, ownersOf } from './manifest-chunks.ts';
import { readRootText } from './manifest-reader.ts';
import { missingOf } from './missing.ts';
import { hashFileHex } from './part-writer.ts';
import { openFile, readFrames } from './read-streams.ts';
import { rebuildIndex } from './rebuild-index.ts';
import { scrubSlice } from './scrub.ts';
import type { Store } from './store.ts';
import { createGrowing, unpackPart } from './unpack-part.ts';
import { verifyImage } from './verify-image.ts';
import type { StreamHandle } from './worker-messages.ts';
import { sendSlices } from './worker-stream.ts';

/** Everything that the main thread may ask, by name: ContentStore's methods with progress as the first argument. */
export async function createMethods(store: Store, limits: ArchiveLimits) {
  await removeUnfinishedArchives(store);
  const archives = createArchives(store, limits);
  const growing = createGrowing(store);
  const held = <Result>(manifest: Digest, work: () => Promise<Result>): Promise<Result> => store.pins.withRoots([manifest], work);
  return {
    importDisk: (onProgress: OnProgress, source: { path: string; sectorSize?: number }) => importDisk(store, source, onProgress),
    importTree: (onProgress: OnProgress, source: TreeSource) => importTree(store, source, onProgress),
    exportDisk: (onProgress: OnProgress, manifest: Digest, path: string) =>
      held(manifest, () => exportDisk(store, manifest, path, onProgress)),
    verifyImage: (onProgress: OnProgress, manifest: Digest): Promise<CheckReport> =>
      held(manifest, () => verifyImage(store, manifest, onProgress)),
    readRoot: (_: OnProgress, manifest: Digest) => readRootText(createChunkReader(store), parseDigest(manifest)),
    openFile: (_: OnProgress, manifest: Digest, path: string) => openFileStream(store, manifest, path),
    readFrames: async (_: OnProgress, digests: readonly Digest[]): Promise<StreamHandle> => ({
      port: sendSlices(readFrames(store, digests.map(parseDigest)), store.signal),
    }),
    missingOf: (_: OnProgress, manifests: readonly Digest[], options?: { areToStay?: boolean }) => missingOf(store, manifests, options),
    buildArchive: (onProgress: OnProgress, request: ArchiveRequest) => archives.build(request, onProgress),
    holdArchive: async (_: OnProgress, key: string) => archives.hold(parseArchiveKey(key)),
    releaseArchive: async (_: OnProgress, key: string) => archives.release(parseArchiveKey(key)),
    unpackPart: (onProgress: OnProgress, path: string) => unpackPart(store, path, onProgress),
    unpackGrowing: (onProgress: OnProgress, path: string, sizeBytes: number) => growing.unpack(path, sizeBytes, onProgress),
    confirmPart: async (_: OnProgress, path: string) => growing.confirm(path),
    stopUnpacking: async (_: OnProgress, path: string) => growing.stop(path),
    hashFile: async (_: OnProgress, path: string) => ({ digest: `sha256:${await hashFileHex(path)}`, sizeBytes: (await stat(path)).size }),
    linkPacks: () => linkPacks(store),
    unlinkPacks: (_: OnProgress, directory: string) => unlinkPacks(store, directory),
    scrub: (_: OnProgress, from: ScrubPosition | null, maxBytes: number) => scrubSlice(store, from, maxBytes),
    weigh: (_: OnProgress, manifests: readonly Digest[], kept: readonly Digest[]) => weigh(store, manifests, kept),
    lackingOf: (_: OnProgress, manifests: readonly Digest[]) => lackingOf(store, manifests),
    ownersOf: (_: OnProgress, digests: readonly Digest[], manifests: readonly Digest[]) => ownersOf(store, digests, manifests),
    check: (onProgress: OnProgress, options: { quarantine?: boolean }) => checkStore(store, options, onProgress),
    rebuildIndex: (onProgress: OnProgress) => rebuildIndex(store, onProgress),
    stats: () => stats(store),
    gc: (onProgress: OnProgress, options: GcOptions) => collectGarbage(store, options, onProgress),
  };
}

export type Methods = Awaited<ReturnType<typeof createMethods>>;

/** The manifest stays held until the stream ends, however it ends. */
async function openFileStream(store: Store, manifest: Digest, path: string): Promise<StreamHandle | undefined> {
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  const holding = store.pins.withRoots([manifest], () => ended);
  try {
    const file = await openFile(store, manifest, path);
    if (file === undefined) {
      end();
      return undefined;
    }
    return { port: sendSlices(file.slices, store.signal, end), sizeBytes: file.sizeBytes };
  } catch (error) {
    end();
    await holding;
    throw error;
  }
}

async function stats(store: Store): Promise<StoreStats> {
  const { packs, frames, chunks, rawBytes, bytes } = store.index.counts();
  const { bavail, bsize } = await statfs(store.paths.root);
  return { packs, frames, chunks, rawBytes, storedBytes: bytes, freeBytes: bavail * bsize };
}
