import { type Root, readDisk } from '../../core/content/manifest.ts';
import { type Extent, type GetChunk, readExtents } from '../../core/content/page-tree.ts';
import { readTreeFiles } from '../../core/content/tree-files.ts';
import type { CheckReport, Damage, OnProgress } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import { createChunkReader } from './chunk-reader.ts';
import { readRoot } from './manifest-reader.ts';
import type { Store } from './store.ts';

type Verification = {
  readonly report: { packs: number; frames: number; chunks: number; bytes: number };
  readonly damages: Damage[];
  /** Reads a chunk and counts it; one that is missing or damaged becomes a damage, and is thrown too. */
  read(digest: Digest, what: Damage['what']): Promise<Buffer>;
  /** Runs a part of the work to its end or its first failure, which becomes a damage unless it is one already. */
  attempt(work: () => Promise<void>): Promise<void>;
};

/**
 * Reads and hashes every chunk of one image, and what its pages and its list of files say of each other; what is
 * missing, damaged or does not add up is told, not thrown. Throws `cancelled` when the store is closed.
 */
export async function verifyImage(store: Store, manifest: Digest, onProgress: OnProgress): Promise<CheckReport> {
  const { report, damages, read, attempt } = beginVerification(store, manifest);
  const page: GetChunk = (digest) => read(digest, 'manifest');
  await attempt(async () => {
    const root = await readRoot(page, manifest);
    if (root.kind !== 'disk') await attempt(() => readToEnd(readTreeFiles(root, page)));
    let end = 0;
    for await (const extent of contentOf(root, page)) {
      end = extent.offset + extent.length;
      if (extent.kind === 'data') await attempt(async () => void (await read(extent.digest, 'chunk')));
      onProgress(Math.min(end, root.sizeBytes), root.sizeBytes);
    }
    if (end !== root.sizeBytes) throw new AppError('bad_data', `the image has ${root.sizeBytes} bytes, its extents end at ${end}`);
  });
  return { ...report, damages };
}

function beginVerification(store: Store, manifest: Digest): Verification {
  const get = createChunkReader(store);
  const damages: Damage[] = [];
  const told = new WeakSet<Error>();
  const [packs, frames] = [new Set<string>(), new Set<string>()];
  const report = { packs: 0, frames: 0, chunks: 0, bytes: 0 };

  function tell(error: unknown, damage: Pick<Damage, 'what' | 'digest'>): void {
    // What is wrong with the content is told; what is wrong with the machine (no rights, no memory) is not the image's.
    if (!(error instanceof AppError) || !['not_found', 'corrupt', 'bad_data'].includes(error.code)) throw error;
    if (!told.has(error)) damages.push({ ...damage, where: error.message });
    told.add(error);
  }

  return {
    report,
    damages,
    async read(digest, what) {
      if (store.signal.aborted) throw new AppError('cancelled', 'the store was closed');
      const octets = await get(digest).catch((error: unknown) => {
        tell(error, { what, digest });
        throw error;
      });
      const [location] = store.index.locate(digest);
      if (location) report.packs = packs.add(location.pack).size;
      if (location) report.frames = frames.add(`${location.pack}:${location.offset}`).size;
      report.chunks += 1;
      report.bytes += octets.length;
      return octets;
    },
    attempt: (work) => work().catch((error: unknown) => tell(error, { what: 'manifest', digest: manifest })),
  };
}

async function* contentOf(root: Root, get: GetChunk): AsyncGenerator<Extent> {
  if (root.kind === 'disk') yield* readDisk(root, get);
  else if (root.tree) yield* readExtents(root.tree, get);
}

async function readToEnd(items: AsyncGenerator<unknown>): Promise<void> {
  for (let item = await items.next(); !item.done; item = await items.next());
}
