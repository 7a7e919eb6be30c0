import { renameSync, rmSync } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Chunk, decodeFrame, encodeFrame } from '../../core/content/frame.ts';
import type { Frame } from '../../core/content/frame-reader.ts';
import type { CheckReport, Damage, OnProgress } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import { type Digest, newId } from '../../core/ids.ts';
import { type ContentIndex, openIndex } from './content-index.ts';
import { asStoreError, syncDirectory } from './durable.ts';
import { createPackWriter, type PackWriter } from './pack-writer.ts';
import { scanPack } from './scan-pack.ts';
import { indexPack, listPacks, packPath, type Store } from './store.ts';

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

export type Rewritten = { readonly keptBytes: number; readonly oldBytes: number };

/**
 * Writes what is worth keeping of a pack into a new one and changes the rows in one transaction. The old
 * file stays where it is: the caller removes or keeps it. Damaged frames are left out. When `isStill` says no
 * at the moment of the change, nothing changes and undefined comes back.
 */
export async function rewritePack(
  store: Store,
  pack: string,
  keep: (digest: Digest) => boolean,
  isStill: () => boolean = () => true,
): Promise<Rewritten | undefined> {
  const path = packPath(store.paths, pack);
  const writer = createPackWriter(store, { replaces: pack, isStillWanted: isStill });
  const oldBytes = (await stat(path)).size;
  try {
    let kept = 0;
    for await (const { frame } of scanPack(path)) {
      if (store.signal.aborted) throw new AppError('cancelled', 'the store was closed');
      if (frame) kept += await copyFrame(frame, keep, writer);
    }
    if (kept > 0) {
      const keptBytes = await writer.commit();
      return keptBytes === undefined ? undefined : { keptBytes, oldBytes };
    }
    if (!isStill()) return undefined;
    store.index.removePack(pack);
    return { keptBytes: 0, oldBytes };
  } finally {
    await writer.abort();
  }
}

async function copyFrame(frame: Frame, keep: (digest: Digest) => boolean, writer: PackWriter): Promise<number> {
  const chunks = await intactChunks(frame);
  const kept = chunks.filter((chunk) => keep(chunk.digest));
  if (kept.length === 0) return 0;
  const isWhole = kept.length === frame.header.chunks.length;
  const octets = isWhole ? Buffer.from(frame.octets) : await encodeFrame(kept);
  const rawBytes = kept.reduce((sum, chunk) => sum + chunk.bytes.length, 0);
  await writer.append(octets, { rawBytes, chunks: kept.map(({ digest, bytes }) => ({ digest, length: bytes.length })) });
  return kept.length;
}

async function intactChunks(frame: Frame): Promise<Chunk[]> {
  try {
    return await decodeFrame(frame.header, frame.payload);
  } catch (error) {
    // Its sums are right and its content is not: it was written so. Nothing of it is worth keeping.
    if (error instanceof AppError && error.code === 'bad_data') return [];
    throw error;
  }
}

/** Rewrites a damaged pack without its damaged frames; the original goes to quarantine/. */
export async function quarantinePack(store: Store, pack: string): Promise<void> {
  await rewritePack(store, pack, () => true);
  await rename(packPath(store.paths, pack), join(store.paths.quarantine, `${pack}.pack`));
  await syncDirectory(store.paths.packs);
}
