import { utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { keptOrBuilt, pruneKept } from '../../../server/engine/kept.ts';

/**
 * A folder of the cache that was made under this key before, or is made now by `build`; to be read only. What was used in
 * the last hour stays there, of the rest the newest four.
 */
export async function keepOnShelf(cacheDir: string, shelf: string, key: string, build: (folder: string) => Promise<void>): Promise<string> {
  const place = join(cacheDir, shelf);
  const kept = await keptOrBuilt(place, key, build);
  const now = new Date();
  await utimes(kept, now, now);
  await pruneKept(join(place, 'engines'), now.getTime());
  return kept;
}
