import { open, rm, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { LendChunk, LentChunk } from '../../core/content/delta-frame.ts';
import { readDisk } from '../../core/content/manifest.ts';
import type { Extent } from '../../core/content/page-tree.ts';
import type { OnProgress } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import { type Digest, printable } from '../../core/ids.ts';
import { createChunkLender } from './chunk-lender.ts';
import { createChunkReader } from './chunk-reader.ts';
import { asStoreError, publishFile, temporaryBeside, writeAll } from './durable.ts';
import { readDiskRoot } from './manifest-reader.ts';
import type { Store } from './store.ts';

/** Chunks being fetched and decoded ahead of the one that is written. */
const AHEAD = 48;
/** Decoded frames kept beside those of chunks that were fetched ahead: what is asked for next lies there or in none. */
export const DATA_FRAMES = 4;

/** Writes an image to a file: see ContentStore.exportDisk. Zeros (and free ranges) become holes. */
export async function exportDisk(store: Store, manifest: Digest, target: string, onProgress: OnProgress): Promise<void> {
  const path = resolve(target);
  await requireOrdinary(path);
  const temporary = temporaryBeside(path);
  const [get, data] = [createChunkReader(store), createChunkLender(store, DATA_FRAMES)];
  const root = await readDiskRoot(get, manifest);
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.truncate(root.sizeBytes);
      for await (const { offset, bytes } of dataOf(readDisk(root, get), data.lend)) {
        if (store.signal.aborted) throw new AppError('cancelled', 'the store was closed');
        await writeAll(file, bytes, offset);
        onProgress(offset + bytes.length, root.sizeBytes);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await publishFile(temporary, path);
    onProgress(root.sizeBytes, root.sizeBytes);
  } catch (error) {
    await rm(temporary, { force: true });
    throw asStoreError(error, `exporting to ${target}`);
  } finally {
    data.close();
  }
}

/** The rename would put a file in the place of a device, in memory most likely, and the disk behind it would stay as it was. */
async function requireOrdinary(path: string): Promise<void> {
  // What cannot be looked at is left to the writing to refuse.
  const found = await stat(path).catch(() => undefined);
  if (found === undefined || found.isFile()) return;
  throw new AppError('bad_data', `${printable(path)} is there already, and is no ordinary file`, {
    hint: 'export to a file, then copy it where it belongs',
  });
}

export type Data = { readonly digest: Digest; readonly offset: number; readonly bytes: Buffer };

/** The data of these extents in order, fetched ahead. The bytes of each are good until the next one is asked for. */
export async function* dataOf(extents: AsyncIterable<Extent>, lend: LendChunk): AsyncGenerator<Data> {
  const ahead: Promise<Data & LentChunk>[] = [];
  for await (const extent of extents) {
    if (extent.kind !== 'data') continue;
    const { digest, offset } = extent;
    const data = lend(digest).then((lent) => ({ digest, offset, ...lent }));
    // Awaited below in order; one that fails while an earlier one is written must not be an unhandled rejection.
    data.catch(() => undefined);
    ahead.push(data);
    if (ahead.length >= AHEAD) yield* inTurn(ahead.shift());
  }
  while (ahead.length > 0) yield* inTurn(ahead.shift());
}

async function* inTurn(next: Promise<Data & LentChunk> | undefined): AsyncGenerator<Data> {
  const data = await next;
  if (data === undefined) return;
  yield data;
  data.giveBack();
}
