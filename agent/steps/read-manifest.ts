import { type DiskRoot, parseRoot } from '../../core/content/manifest.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import { type ChunkSource, fetchChunks } from './fetch-chunks.ts';

/** Pages lie together in frames: keep what came along, within this bound (a page has at most 160 KiB). */
const CACHE_BYTES = 32 * 1024 * 1024;

export type PageReader = (digest: Digest) => Promise<Buffer>;

/** Reads pages and roots by digest, each checked; those read last are kept. */
export function createPageReader(source: ChunkSource): PageReader {
  const cache = new Map<Digest, Buffer>();
  let cachedBytes = 0;
  const keep = (digest: Digest, bytes: Buffer) => {
    if (cache.has(digest)) return;
    // A copy: the chunk is a slice of its whole frame, which must not live on for it.
    cache.set(digest, Buffer.from(bytes));
    cachedBytes += bytes.length;
    for (const [oldest, old] of cache) {
      if (cachedBytes <= CACHE_BYTES) break;
      cache.delete(oldest);
      cachedBytes -= old.length;
    }
  };
  return async (digest) => {
    const known = cache.get(digest);
    if (known !== undefined) return known;
    let found: Buffer | undefined;
    for await (const chunk of fetchChunks({ ...source, onSpare: (spare) => keep(spare.digest, spare.bytes) }, [digest])) {
      found = Buffer.from(chunk.bytes);
      keep(digest, found);
    }
    if (found === undefined) throw new AppError('bad_data', `the server gave nothing for ${digest}`);
    return found;
  };
}

/**
 * The root of the ordered image. Throws `bad_data` when it is not the disk that the order describes: the fit was
 * judged by the order's figures.
 */
export async function readDiskRoot(
  read: PageReader,
  task: { readonly manifest: string; readonly sizeBytes: number; readonly sectorSize: number },
): Promise<DiskRoot> {
  const root = parseRoot((await read(task.manifest as Digest)).toString('utf8'));
  if (root.kind !== 'disk' || root.sizeBytes !== task.sizeBytes || root.disk.sectorSize !== task.sectorSize) {
    throw new AppError('bad_data', `manifest ${task.manifest} is not the disk that the order describes`);
  }
  return root;
}
