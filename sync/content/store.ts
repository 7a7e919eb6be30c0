import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MAX_PACK_BYTES } from '../../core/content/limits.ts';
import type { FoundDamage } from '../../core/content-store.ts';
import { newId } from '../../core/ids.ts';
import { type ContentIndex, type FrameRecord, openIndex } from './content-index.ts';
import { asStoreError, syncDirectory } from './durable.ts';
import { createPins, type Pins } from './pins.ts';
import { type Found, frameRecord, scanPack } from './scan-pack.ts';
import { type Clocks, openSteadyClock, type SteadyClock } from './steady-clock.ts';
import { createTurns, type Turns } from './turns.ts';

/** What the parts of the store work on, all inside the worker. */
export type Store = {
  readonly paths: StorePaths;
  /** Replaced as a whole when it is made again from the packs. */
  index: ContentIndex;
  /** What was wrong with the index when the store was opened, until a check has told it. */
  indexDamage: string | undefined;
  readonly pins: Pins;
  /** Packs that were renamed and whose rows are not written yet. */
  readonly arriving: Set<string>;
  /** Aborted by close: long work ends and cleans up. */
  readonly signal: AbortSignal;
  /** Where a pack ends and the next begins. */
  readonly packBytes: number;
  /** Whoever takes packs away (collection, mending) does one at a time under this. */
  readonly moving: Turns;
  /** One collection at a time. */
  readonly collecting: Turns;
  /**
   * Told what readers find damaged or missing. With it they mend on the spot: what is damaged is put aside, what can be
   * saved of it is stored anew. Without it they only fail.
   */
  readonly onDamage: ((found: FoundDamage) => void) | undefined;
  readonly clock: SteadyClock;
};

export type StoreOptions = {
  readonly packBytes?: number;
  readonly clocks?: Clocks;
  readonly onDamage?: (found: FoundDamage) => void;
};

export type StorePaths = {
  readonly root: string;
  readonly packs: string;
  readonly archives: string;
  readonly quarantine: string;
  readonly tmp: string;
  readonly index: string;
};

function storePaths(root: string): StorePaths {
  return {
    root,
    packs: join(root, 'packs'),
    archives: join(root, 'archives'),
    quarantine: join(root, 'quarantine'),
    tmp: join(root, 'tmp'),
    index: join(root, 'index.sqlite'),
  };
}

export function packPath(paths: StorePaths, pack: string): string {
  return join(paths.packs, `${pack}.pack`);
}

/**
 * Opens a store's directory, made if it is not there. What a killed process left is put right first: temporary
 * files go, a pack that was named but not indexed is taken in, an index that is lost or cannot be read is made again.
 */
export async function openStore(root: string, signal: AbortSignal, options: StoreOptions = {}): Promise<Store> {
  const paths = storePaths(root);
  for (const path of [paths.packs, paths.archives, paths.quarantine, paths.tmp]) await mkdir(path, { recursive: true, mode: 0o700 });
  await removeLeftovers(paths);
  const { index, damage } = await openOrReplaceIndex(paths);
  return {
    paths,
    index,
    indexDamage: damage,
    pins: createPins(),
    arriving: new Set(),
    signal,
    packBytes: options.packBytes ?? MAX_PACK_BYTES,
    moving: createTurns(),
    collecting: createTurns(),
    onDamage: options.onDamage,
    clock: await openSteadyClock(join(root, 'clock.json'), options.clocks),
  };
}

async function removeLeftovers(paths: StorePaths): Promise<void> {
  await rm(paths.tmp, { recursive: true, force: true });
  await mkdir(paths.tmp, { mode: 0o700 });
  for (const directory of [paths.packs, paths.archives, paths.quarantine, paths.root]) {
    const left = (await readdir(directory)).filter((name) => name.startsWith('.') && name.endsWith('.tmp'));
    for (const name of left) await rm(join(directory, name), { recursive: true, force: true });
  }
}

async function openOrReplaceIndex(paths: StorePaths): Promise<{ index: ContentIndex; damage: string | undefined }> {
  try {
    return { index: await openAndAdopt(paths), damage: undefined };
  } catch (error) {
    if (asStoreError(error, 'opening the index').code !== 'corrupt') throw error;
    await rename(paths.index, join(paths.quarantine, `index-${newId()}.sqlite`));
    for (const tail of ['-wal', '-shm']) await rm(`${paths.index}${tail}`, { force: true });
    await syncDirectory(paths.root);
    return { index: await openAndAdopt(paths), damage: `it could not be read: ${(error as Error).message}` };
  }
}

async function openAndAdopt(paths: StorePaths): Promise<ContentIndex> {
  const index = openIndex(paths.index);
  try {
    await adoptPacks(paths, index);
    return index;
  } catch (error) {
    index.close();
    throw error;
  }
}

/** Names of the packs on the disk. */
export async function listPacks(paths: StorePaths): Promise<string[]> {
  const names = await readdir(paths.packs);
  return names
    .filter((name) => name.endsWith('.pack') && !name.startsWith('.'))
    .map((name) => name.slice(0, -5))
    .sort();
}

/**
 * Takes in packs that have no rows. Packs become visible whole (rename after fsync): one without rows was whole before
 * its writer died. Those in `arriving` have a writer who lives.
 */
export async function adoptPacks(paths: StorePaths, index: ContentIndex, arriving: ReadonlySet<string> = new Set()): Promise<void> {
  const known = new Set(index.packs().map((pack) => pack.name));
  for (const name of await listPacks(paths)) if (!known.has(name) && !arriving.has(name)) await indexPack(paths, index, name);
}

/** Writes the rows of one pack from what its frames say; gives the damaged stretches. */
export async function indexPack(paths: StorePaths, index: ContentIndex, name: string): Promise<readonly Found[]> {
  const path = packPath(paths, name);
  const records: FrameRecord[] = [];
  const damages: Found[] = [];
  for await (const found of scanPack(path)) {
    if (found.frame) records.push(frameRecord(found.offset, found.frame));
    else damages.push(found);
  }
  index.addPack({ name, bytes: (await stat(path)).size }, records);
  return damages;
}
