import { stat } from 'node:fs/promises';
import { decodeFrame } from '../../core/content/frame.ts';
import type { CheckReport, Damage, OnProgress } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import type { ContentIndex, FrameRecord } from './content-index.ts';
import { asStoreError } from './durable.ts';
import { mendPack } from './mend.ts';
import { rebuildIndex } from './rebuild-index.ts';
import { type Found, frameRecord, scanPack } from './scan-pack.ts';
import { listPacks, packPath, type Store } from './store.ts';

/** What was read so far, and what was wrong. */
export type Tally = { packs: number; frames: number; chunks: number; bytes: number; damages: Damage[]; damagedPacks: Set<string> };

/**
 * Reads everything: each octet of each pack, each chunk decoded and hashed, and each row of the index compared
 * with what the packs say. With `quarantine`, damaged packs are mended (mend.ts), and an index that is wrong is
 * made again.
 */
export async function checkStore(store: Store, options: { quarantine?: boolean }, onProgress: OnProgress): Promise<CheckReport> {
  const tally = beginTally();
  if (store.indexDamage !== undefined)
    tally.damages.push({ what: 'index', where: `${store.indexDamage}; it was made again from the packs` });
  store.indexDamage = undefined;
  const packs = await listAllPacks(store, tally);
  for (const pack of packs) store.pins.pinPack(pack);
  try {
    await checkIndexItself(store.index, tally);
    for (const [done, pack] of packs.entries()) {
      if (store.signal.aborted) throw new AppError('cancelled', 'the store was closed');
      await checkPack(store, pack, tally);
      onProgress(done + 1, packs.length);
    }
  } finally {
    for (const pack of packs) store.pins.unpinPack(pack);
  }
  if (options.quarantine && tally.damages.length > 0) await repair(store, tally);
  const { damagedPacks: _, ...report } = tally;
  return report;
}

export function beginTally(): Tally {
  return { packs: 0, frames: 0, chunks: 0, bytes: 0, damages: [], damagedPacks: new Set() };
}

async function listAllPacks(store: Store, tally: Tally): Promise<string[]> {
  const onDisk = (await listPacks(store.paths)).filter((name) => !store.arriving.has(name));
  return withIndex(tally, onDisk, () => [...new Set([...onDisk, ...store.index.packs().map((pack) => pack.name)])].sort());
}

/** What SQLite itself finds wrong with the index. */
export async function checkIndexItself(index: ContentIndex, tally: Tally): Promise<void> {
  for (const line of withIndex(tally, [], () => index.integrity())) tally.damages.push({ what: 'index', where: line });
}

async function checkPack(store: Store, pack: string, tally: Tally): Promise<void> {
  const rows = withIndex(tally, undefined, () => store.index.framesOf(pack));
  const record = withIndex(tally, undefined, () => store.index.packs().find(({ name }) => name === pack));
  const path = packPath(store.paths, pack);
  const size = await stat(path).then(
    (info) => info.size,
    () => undefined,
  );
  if (size === undefined) {
    // Mended since the list was made: its content lies in another pack now.
    if (record === undefined) return;
    tally.damages.push({ what: 'pack', where: `${pack}: the index names it and its file is not there` });
    return;
  }
  tally.packs += 1;
  tally.bytes += size;
  if (record?.bytes !== size)
    tally.damages.push({ what: 'index', where: `pack ${pack}: ${record?.bytes ?? 'no'} bytes in the index, ${size} in the file` });
  const byOffset = new Map((rows ?? []).map((row) => [row.offset, row]));
  for await (const found of scanPack(path)) await checkFound(pack, found, byOffset, tally);
  for (const row of byOffset.values()) {
    tally.damages.push({ what: 'index', where: `pack ${pack}: the index names a frame at ${row.offset} that is not there` });
  }
}

/** Decodes and hashes a frame and compares it with its rows, which are taken out of `rows`; what is wrong is told in `tally`. */
export async function checkFound(pack: string, found: Found, rows: Map<number, FrameRecord>, tally: Tally): Promise<void> {
  const row = rows.get(found.offset);
  rows.delete(found.offset);
  const where = `pack ${pack} at ${found.offset}`;
  if (found.frame === undefined) {
    tally.damagedPacks.add(pack);
    tally.damages.push({ what: 'frame', where: `${where}: ${found.damage ?? 'damaged'}` });
    for (const { digest } of row?.chunks ?? []) tally.damages.push({ what: 'chunk', where, digest });
    return;
  }
  tally.frames += 1;
  tally.chunks += found.frame.header.chunks.length;
  const expected = frameRecord(found.offset, found.frame);
  if (row === undefined || !isSameRecord(row, expected))
    tally.damages.push({ what: 'index', where: `${where}: its rows differ from the frame` });
  try {
    await decodeFrame(found.frame.header, found.frame.payload);
  } catch (error) {
    tally.damagedPacks.add(pack);
    tally.damages.push({ what: 'frame', where: `${where}: ${(error as Error).message}` });
  }
}

function isSameRecord(a: FrameRecord, b: FrameRecord): boolean {
  return (
    a.bytes === b.bytes &&
    a.rawBytes === b.rawBytes &&
    a.chunks.length === b.chunks.length &&
    a.chunks.every((chunk, index) => chunk.digest === b.chunks[index]?.digest && chunk.length === b.chunks[index]?.length)
  );
}

/** What the index says, or `otherwise` with the damage told when SQLite cannot read it. */
export function withIndex<Result>(tally: Tally, otherwise: Result, ask: () => Result): Result {
  try {
    return ask();
  } catch (error) {
    const known = asStoreError(error, 'reading the index');
    if (known.code !== 'corrupt') throw known;
    tally.damages.push({ what: 'index', where: known.message });
    return otherwise;
  }
}

/** Packs first, while the rows still tell what lay in a frame whose header is broken; the index last, when something is wrong with it. */
async function repair(store: Store, tally: Tally): Promise<void> {
  const isReadable = isIndexReadable(store);
  if (!isReadable) await rebuildIndex(store, () => undefined);
  for (const pack of tally.damagedPacks) {
    const found = await mendPack(store, pack);
    store.onDamage?.(found);
  }
  if (isReadable && tally.damages.some(({ what }) => what === 'index' || what === 'pack')) await rebuildIndex(store, () => undefined);
}

function isIndexReadable(store: Store): boolean {
  try {
    return store.index.integrity().length === 0;
  } catch (error) {
    if (asStoreError(error, 'reading the index').code === 'corrupt') return false;
    throw error;
  }
}
