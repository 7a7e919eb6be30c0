import { stat } from 'node:fs/promises';
import type { ScrubPosition, ScrubSlice } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import { beginTally, checkFound, checkIndexItself, type Tally, withIndex } from './check.ts';
import { mendPack } from './mend.ts';
import { scanPack } from './scan-pack.ts';
import { listPacks, packPath, type Store } from './store.ts';

/**
 * Reads on from a position (null: the beginning) for about `maxBytes`, each frame decoded, hashed and compared with its
 * rows: see ContentStore.scrub. What is damaged is mended at once. Behind the last pack comes the index itself.
 */
export async function scrubSlice(store: Store, from: ScrubPosition | null, maxBytes: number): Promise<ScrubSlice> {
  const tally = beginTally();
  const packs = (await listPacks(store.paths)).filter((name) => !store.arriving.has(name));
  const pack = packs.find((name) => name >= (from?.pack ?? ''));
  if (pack === undefined) {
    await checkIndexItself(store.index, tally);
    return sliceOf(tally, null);
  }
  const start = pack === from?.pack ? from.offset : 0;
  store.pins.pinPack(pack);
  try {
    const end = await readFrom(store, pack, { start, maxBytes, tally });
    if (tally.damages.length > 0) await mend(store, pack);
    const isOver = end === undefined || tally.damages.length > 0;
    // Behind the last pack, once more, for the index: names of packs grow, so nothing is passed over.
    return sliceOf(tally, isOver ? { pack: `${pack}~`, offset: 0 } : { pack, offset: end });
  } finally {
    store.pins.unpinPack(pack);
  }
}

async function mend(store: Store, pack: string): Promise<void> {
  const found = await mendPack(store, pack);
  store.onDamage?.(found);
}

type Reading = { readonly start: number; readonly maxBytes: number; readonly tally: Tally };

/** Where the next slice begins; undefined at the end of the pack. */
async function readFrom(store: Store, pack: string, { start, maxBytes, tally }: Reading): Promise<number | undefined> {
  const path = packPath(store.paths, pack);
  const rows = withIndex(tally, [], () => store.index.framesOf(pack)).filter(({ offset }) => offset >= start);
  const byOffset = new Map(rows.map((row) => [row.offset, row]));
  const file = await stat(path).catch(undefinedWhenGone);
  if (file === undefined) return undefined;
  for await (const found of scanPack(path, start)) {
    if (store.signal.aborted) throw new AppError('cancelled', 'the store was closed');
    await checkFound(pack, found, byOffset, tally);
    tally.bytes += found.bytes;
    const end = found.offset + found.bytes;
    if (tally.bytes >= maxBytes && end < file.size) return end;
  }
  for (const { offset } of byOffset.values()) {
    tally.damages.push({ what: 'index', where: `pack ${pack}: the index names a frame at ${offset} that is not there` });
  }
  return undefined;
}

function undefinedWhenGone(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}

function sliceOf({ bytes, frames, chunks, damages }: Tally, next: ScrubPosition | null): ScrubSlice {
  return { bytes, frames, chunks, damages, next };
}
