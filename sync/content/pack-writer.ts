import { type FileHandle, open, rm, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { newId } from '../../core/ids.ts';
import type { FrameRecord } from './content-index.ts';
import { asStoreError, publishFile, writeAll } from './durable.ts';
import { packPath, type Store } from './store.ts';

export type PackWriterOptions = {
  /** Rows of this pack go in the transaction that adds ours. */
  readonly replaces?: string;
  /** Asked in the same turn in which the rows change; false lets the pack go again and `commit` gives undefined. */
  readonly isStillWanted?: () => boolean;
  /** Called in the turn in which a pack's rows were written: nobody has seen it before. */
  readonly onCommit?: (frames: readonly FrameRecord[], name: string) => void;
};

/** Appends frames to a pack of its own and begins the next one at 256 MiB. */
export type PackWriter = {
  append(octets: Buffer, record: Omit<FrameRecord, 'offset' | 'bytes'>): Promise<void>;
  /** Makes what was appended durable and visible. Gives the octets of all packs written. */
  commit(): Promise<number | undefined>;
  /** Removes what is not visible yet. May be called at any time, and twice. */
  abort(): Promise<void>;
};

type OpenPack = {
  name: string;
  temporary: string;
  file: FileHandle;
  bytes: number;
  synced: number;
  /** The write-back under way; what comes next waits for it, and fails when it failed. */
  syncing: Promise<void>;
  frames: FrameRecord[];
};

/** Written octets after which the disk begins to write back, beside what goes on, so that the last fsync is short. */
const SYNC_STEP_BYTES = 64 * 1024 * 1024;

export function createPackWriter(store: Store, options: PackWriterOptions = {}): PackWriter {
  let pack: OpenPack | undefined;
  let writtenBytes = 0;

  async function append(octets: Buffer, record: Omit<FrameRecord, 'offset' | 'bytes'>): Promise<void> {
    const isFull = pack !== undefined && pack.bytes + octets.length > store.packBytes && options.replaces === undefined;
    if (isFull) await commit();
    pack ??= await beginPack(store);
    await writeAll(pack.file, octets, pack.bytes);
    pack.frames.push({ ...record, offset: pack.bytes, bytes: octets.length });
    pack.bytes += octets.length;
    if (pack.bytes - pack.synced < SYNC_STEP_BYTES) return;
    await pack.syncing;
    pack.syncing = pack.file.datasync();
    // The kernel tells a failed write-back once, so the promise is kept and awaited above and in commit.
    pack.syncing.catch(() => undefined);
    pack.synced = pack.bytes;
  }

  async function commit(): Promise<number | undefined> {
    const done = pack;
    if (done === undefined) return writtenBytes;
    await done.syncing;
    await done.file.sync();
    await done.file.close();
    store.arriving.add(done.name);
    try {
      if (!(await publishPack(store, done, options))) return undefined;
    } finally {
      store.arriving.delete(done.name);
    }
    pack = undefined;
    writtenBytes += done.bytes;
    return writtenBytes;
  }

  async function abort(): Promise<void> {
    const left = pack;
    pack = undefined;
    if (left === undefined) return;
    // Closing twice is the only failure here: commit may have closed it before it failed.
    await left.file.close().catch(() => undefined);
    await rm(left.temporary, { force: true });
  }

  return { append, commit, abort };
}

async function beginPack(store: Store): Promise<OpenPack> {
  const name = newId();
  const temporary = join(store.paths.packs, `.${name}.tmp`);
  const file = await open(temporary, 'wx', 0o600);
  return { name, temporary, file, bytes: 0, synced: 0, syncing: Promise.resolve(), frames: [] };
}

async function publishPack(store: Store, pack: OpenPack, options: PackWriterOptions): Promise<boolean> {
  const path = packPath(store.paths, pack.name);
  await publishFile(pack.temporary, path);
  try {
    const isWanted = options.isStillWanted?.() ?? true;
    if (isWanted) {
      store.index.addPack({ name: pack.name, bytes: pack.bytes }, pack.frames, options.replaces);
      options.onCommit?.(pack.frames, pack.name);
    } else await rm(path);
    return isWanted;
  } catch (error) {
    await rm(path, { force: true });
    throw asStoreError(error, 'writing the index');
  }
}

/** Gives a pack a new lease of life: its age counts from now. */
export async function touchPack(store: Store, name: string): Promise<void> {
  const now = new Date();
  await utimes(packPath(store.paths, name), now, now).catch((error: NodeJS.ErrnoException) => {
    // A pack that is gone has moved its live chunks; the pin that the caller holds keeps the rest.
    if (error.code !== 'ENOENT') throw error;
  });
}
