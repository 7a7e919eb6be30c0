import { treesOf } from '../../core/content/manifest.ts';
import { readExtents } from '../../core/content/page-tree.ts';
import type { CheckReport, Damage, OnProgress } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import { type ChunkReader, createChunkReader } from './chunk-reader.ts';
import { readRoot } from './manifest-reader.ts';
import type { Store } from './store.ts';

/** Reads and hashes every chunk of one image; a chunk that is missing or damaged is told, not thrown. */
export async function verifyImage(store: Store, manifest: Digest, onProgress: OnProgress): Promise<CheckReport> {
  const get = createChunkReader(store);
  const damages: Damage[] = [];
  const packs = new Set<string>();
  const frames = new Set<string>();
  let chunks = 0;
  let bytes = 0;
  const read = async (digest: Digest, what: Damage['what']): Promise<Buffer> => {
    const octets = await tell(get, digest, what, damages);
    const [location] = store.index.locate(digest);
    if (location) packs.add(location.pack);
    if (location) frames.add(`${location.pack}:${location.offset}`);
    chunks += 1;
    bytes += octets.length;
    return octets;
  };
  try {
    const root = await readRoot((digest) => read(digest, 'manifest'), manifest);
    for (const tree of treesOf(root)) {
      for await (const extent of readExtents(tree, (digest) => read(digest, 'manifest'))) {
        if (extent.kind === 'data') await read(extent.digest, 'chunk').catch(ignoreTold);
        onProgress(Math.min(extent.offset + extent.length, root.sizeBytes), root.sizeBytes);
      }
    }
  } catch (error) {
    ignoreTold(error);
  }
  return { packs: packs.size, frames: frames.size, chunks, bytes, damages };
}

async function tell(get: ChunkReader, digest: Digest, what: Damage['what'], damages: Damage[]): Promise<Buffer> {
  try {
    return await get(digest);
  } catch (error) {
    if (error instanceof AppError) damages.push({ what, where: error.message, digest });
    throw error;
  }
}

/** What became a damage of the report goes no further; a failure of the machine does. */
function ignoreTold(error: unknown): void {
  const isTold = error instanceof AppError && ['not_found', 'corrupt', 'bad_data'].includes(error.code);
  if (!isTold) throw error;
}
