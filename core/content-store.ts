import type { FrameEncoding } from './content/frame.ts';
import type { Digest } from './ids.ts';
import type { Arch, DiskFacts, ImageKind } from './image.ts';
import type { ArchivePart } from './sync-protocol.ts';

export type OnProgress = (doneBytes: number, totalBytes: number) => void;

export type Imported = {
  /** Root of the table of contents; the image's identity. */
  readonly manifest: Digest;
  readonly kind: ImageKind;
  readonly sizeBytes: number;
  /** Bytes of data extents (not zero, not free). */
  readonly usedBytes: number;
  /** Bytes that this import added to the packs. */
  readonly storedBytes: number;
  readonly disk?: DiskFacts;
};

export type Damage = { readonly what: 'chunk' | 'frame' | 'pack' | 'index' | 'manifest'; readonly where: string; readonly digest?: Digest };

/** Damage that a reader met, and the chunks that are gone with it until they are fetched again. */
export type FoundDamage = { readonly damages: readonly Damage[]; readonly lost: readonly Digest[] };

/** Chunks of a manifest: its root, pages and data alike. */
export type ManifestChunks = { readonly manifest: Digest; readonly digests: readonly Digest[] };

export type CheckReport = {
  readonly packs: number;
  readonly frames: number;
  readonly chunks: number;
  readonly bytes: number;
  readonly damages: readonly Damage[];
};

export type GcReport = {
  readonly freedBytes: number;
  readonly freedChunks: number;
  readonly rewrittenPacks: number;
  readonly keptBytes: number;
  /** The clock jumped: for so long ages mean nothing, and nothing goes. */
  readonly waitMs?: number;
};

/** Where a scrub goes on: a pack, or what comes behind it, and an offset at which a frame begins. */
export type ScrubPosition = { readonly pack: string; readonly offset: number };

/** A piece of a scrub. `next` is null behind the last piece. */
export type ScrubSlice = Omit<CheckReport, 'packs'> & { readonly next: ScrubPosition | null };

/** Octets of the packs that would be freed if this manifest alone, of those asked for, were not kept. */
export type ManifestWeight = { readonly manifest: Digest; readonly bytes: number };

export type StoreStats = {
  readonly packs: number;
  readonly frames: number;
  readonly chunks: number;
  readonly rawBytes: number;
  readonly storedBytes: number;
  readonly freeBytes: number;
};

/** `path` lies in `directory`. */
export type LinkedPacks = {
  readonly directory: string;
  readonly packs: readonly { readonly name: string; readonly path: string; readonly bytes: number }[];
};

export type BuiltArchive = { readonly key: string; readonly directory: string; readonly parts: readonly ArchivePart[] };

/**
 * The content store as the rest of the program sees it: every call is a message to the store's own
 * worker, so nothing here blocks the loop that answers firmware. All calls reject with AppError.
 * `onProgress` may be called at most a few times a second. Calls may run at the same time.
 */
export type ContentStore = {
  /**
   * Takes a raw disk (or .zst, .gz, qcow2 without backing file), streaming, at most 300 MB of memory.
   * Chunks are durable (fsync) before the manifest is, and the manifest before this returns.
   * Errors: `bad_data` (not an image, truncated, backing file), `disk_full`.
   */
  importDisk(source: { path: string; sectorSize?: number }, onProgress?: OnProgress): Promise<Imported>;
  /** Takes a directory of regular files (an engine) with `meta` kept in the root of the manifest. */
  importTree(source: { path: string; kind: 'tree' | 'engine'; meta?: Record<string, string> }, onProgress?: OnProgress): Promise<Imported>;
  /** Writes the image, bit-identical (free ranges as zeros), to a new file beside `path`, fsync, rename. Every chunk is checked. */
  exportDisk(manifest: Digest, path: string, onProgress?: OnProgress): Promise<void>;
  /** Reads and hashes every chunk of one image. */
  verifyImage(manifest: Digest, onProgress?: OnProgress): Promise<CheckReport>;
  /** The canonical JSON text of a manifest's root (core/content/manifest.ts `parseRoot`), checked against its digest. */
  readRoot(manifest: Digest): Promise<string>;
  /** One file of a tree image, every chunk checked; undefined when there is no such path. */
  openFile(manifest: Digest, path: string): Promise<{ sizeBytes: number; stream: ReadableStream<Uint8Array> } | undefined>;
  /**
   * The stored frames that hold these chunks, as they lie in the packs (checked by their payload checksum, not
   * decoded), each frame once. Errors: `not_found` names the first missing chunk; `corrupt` a damaged frame.
   */
  readFrames(digests: readonly Digest[]): Promise<ReadableStream<Uint8Array>>;
  /**
   * Which of the wanted manifests (with pages) and chunks are not here: bytes and count, for the planner. `areToStay`: for who
   * publishes those that are complete, or writes down that they are needed, within the hour: no `gc` takes them until then,
   * neither one that was given its roots before.
   */
  missingOf(
    manifests: readonly Digest[],
    options?: { readonly areToStay?: boolean },
  ): Promise<{ readonly chunks: number; readonly rawBytes: number; readonly complete: readonly Digest[] }>;
  /**
   * Builds, or finds in the cache, the archive for have → want (core/sync-protocol.ts ArchiveRequest): the same
   * request gives the same bytes. Parts of at most 256 MiB lie in `directory` as files named by their SHA-256.
   */
  buildArchive(
    request: {
      have: readonly Digest[];
      want: readonly Digest[];
      wantChunks?: readonly Digest[];
      /** What the receiver can unpack; absent: raw and zstd. With `zstd-base` frames build on images of `have`. */
      encodings?: readonly FrameEncoding[];
    },
    onProgress?: OnProgress,
  ): Promise<BuiltArchive>;
  /** Keeps a built archive from being evicted while it is served; once for each `releaseArchive`. */
  holdArchive(key: string): Promise<void>;
  releaseArchive(key: string): Promise<void>;
  /**
   * Unpacks one part whose name and size were checked already by `checkPart`: every frame verified, every
   * chunk hashed, stored in our own packs and fsynced before this returns. Harmless to repeat. Frames that
   * build on a chunk which is missing or damaged here are left out and counted.
   */
  unpackPart(
    path: string,
    onProgress?: OnProgress,
  ): Promise<{ readonly chunks: number; readonly rawBytes: number; readonly skippedFrames: number }>;
  /**
   * As `unpackPart`, of a file that somebody else still appends to until it has `sizeBytes`: each frame is verified and decoded
   * when it is whole, and all becomes visible once `isRight` has resolved. Rejects when that does, and when the file is
   * replaced; then and after any other failure `unpackPart` of the whole part tells.
   */
  unpackGrowing(
    path: string,
    growing: { readonly sizeBytes: number; readonly isRight: Promise<void> },
  ): Promise<{ readonly chunks: number; readonly rawBytes: number; readonly skippedFrames: number }>;
  /** SHA-256 of a file, computed in the worker. */
  hashFile(path: string): Promise<{ readonly digest: Digest; readonly sizeBytes: number }>;
  /** Which chunks of these manifests are not here, as far as the pages that are here tell; at most 100,000. */
  lackingOf(manifests: readonly Digest[]): Promise<readonly Digest[]>;
  /** Which of these chunks belong to which of these manifests, as far as the pages that are here tell. */
  ownersOf(digests: readonly Digest[], manifests: readonly Digest[]): Promise<readonly ManifestChunks[]>;
  /** Second names for all packs, in `directory`: these octets stay whatever is collected, until `unlinkPacks` or the next start. */
  linkPacks(): Promise<LinkedPacks>;
  unlinkPacks(directory: string): Promise<void>;
  /** Calls `listener` for whatever any reader finds damaged or missing, until the function it gives is called. */
  onDamage(listener: (found: FoundDamage) => void): () => void;
  /** Reads everything: packs, frames, chunks, index against packs. Damaged chunks are quarantined when `quarantine`. */
  check(options?: { readonly quarantine?: boolean }, onProgress?: OnProgress): Promise<CheckReport>;
  /** Reads on from a position (null: the beginning) for about `maxBytes` as `check` does, and mends what is damaged. */
  scrub(from: ScrubPosition | null, maxBytes: number): Promise<ScrubSlice>;
  /** What each of these manifests holds that no `kept` one needs. */
  weigh(manifests: readonly Digest[], kept: readonly Digest[]): Promise<readonly ManifestWeight[]>;
  rebuildIndex(onProgress?: OnProgress): Promise<CheckReport>;
  stats(): Promise<StoreStats>;
  /** Mark and sweep; `roots` are the manifests to keep, younger content than `graceMs` is kept as well. */
  gc(options: { roots: readonly Digest[]; graceMs: number; dryRun: boolean }, onProgress?: OnProgress): Promise<GcReport>;
  close(): Promise<void>;
};

export type { Arch };
