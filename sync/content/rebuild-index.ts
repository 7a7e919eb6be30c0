import { renameSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { CheckReport, Damage, OnProgress } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import { newId } from '../../core/ids.ts';
import { type ContentIndex, openIndex } from './content-index.ts';
import { asStoreError } from './durable.ts';
import { indexPack, listPacks, type Store } from './store.ts';

/**
 * Makes the index again from the packs, in a file of its own, and puts it in the old one's place. Packs that
 * arrive or go meanwhile are followed; damaged frames are left out and told.
 */
export async function rebuildIndex(store: Store, onProgress: OnProgress): Promise<CheckReport> {
  const temporary = join(store.paths.tmp, `index-${newId()}.sqlite`);
  const fresh = openIndex(temporary);
  const damages: Damage[] = [];
  try {
    const done = new Set<string>();
    for (let left = await packsToIndex(store, fresh, done); left.length > 0; left = await packsToIndex(store, fresh, done)) {
      for (const name of left) {
        if (store.signal.aborted) throw new AppError('cancelled', 'the store was closed');
        done.add(name);
        damages.push(...(await indexOnePack(store, fresh, name)));
        onProgress(done.size, done.size + left.length);
      }
    }
    // From here to the end nothing else runs in this thread: no pack can come or go between the two indexes.
    const { packs, frames, chunks, bytes } = fresh.counts();
    fresh.close();
    replaceIndex(store, temporary);
    return { packs, frames, chunks, bytes, damages };
  } catch (error) {
    closeQuietly(fresh);
    throw asStoreError(error, 'making the index again');
  } finally {
    for (const tail of ['', '-wal', '-shm']) await rm(`${temporary}${tail}`, { force: true });
  }
}

async function packsToIndex(store: Store, fresh: ContentIndex, done: Set<string>): Promise<string[]> {
  const listed = await listPacks(store.paths);
  // Whoever brings a pack writes its rows himself, into whatever index is in place by then: twice would undo his work.
  const here = listed.filter((name) => !store.arriving.has(name));
  for (const name of done) {
    if (here.includes(name)) continue;
    fresh.removePack(name);
    done.delete(name);
  }
  return here.filter((name) => !done.has(name));
}

async function indexOnePack(store: Store, fresh: ContentIndex, name: string): Promise<Damage[]> {
  try {
    const damages = await indexPack(store.paths, fresh, name);
    return damages.map(({ offset, damage }) => ({ what: 'frame', where: `pack ${name} at ${offset}: ${damage ?? 'damaged'}` }));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function closeQuietly(index: ContentIndex): void {
  try {
    index.close();
  } catch (error) {
    // Closed before it was put in place; anything else matters.
    if ((error as NodeJS.ErrnoException).code !== 'ERR_INVALID_STATE') throw error;
  }
}

/** The new file takes the place of the old one while no statement can run between. */
function replaceIndex(store: Store, temporary: string): void {
  closeQuietly(store.index);
  for (const tail of ['-wal', '-shm']) rmSync(`${store.paths.index}${tail}`, { force: true });
  renameSync(temporary, store.paths.index);
  store.index = openIndex(store.paths.index);
}
