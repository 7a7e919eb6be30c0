import { cutBlocks } from '../../core/content/chunker.ts';
import { BLOCK_BYTES, MAX_CHUNK_BYTES, MAX_DISK_BYTES } from '../../core/content/limits.ts';
import { encodeRoot } from '../../core/content/manifest.ts';
import { createTreeWriter, type TreeWriter } from '../../core/content/page-tree.ts';
import { checkPartitionsFit, type DiskLayout, notADisk, readLayout, regionStarts } from '../../core/content/partition-table.ts';
import type { Imported, OnProgress } from '../../core/content-store.ts';
import { type DiskSource, openDiskSource, spoolSource } from './disk-source.ts';
import type { Store } from './store.ts';
import { type WriteSession, withWriteSession } from './write-session.ts';

/** Takes a disk into the store: see ContentStore.importDisk. */
export async function importDisk(store: Store, from: { path: string; sectorSize?: number }, onProgress: OnProgress): Promise<Imported> {
  return withWriteSession(store, `importing ${from.path}`, async (session) => {
    const opened = await openDiskSource(from.path, store.paths.tmp, store.signal);
    let source = opened;
    try {
      const found = await findLayout(source, store.paths.tmp, from.sectorSize);
      source = found.source;
      return await importFrom(source, found.layout, session, onProgress);
    } finally {
      await source.close();
    }
  });
}

async function findLayout(source: DiskSource, tmp: string, sectorSize?: number): Promise<{ source: DiskSource; layout: DiskLayout }> {
  try {
    return { source, layout: await readLayout(source.readAt, sectorSize) };
  } catch (error) {
    if (!source.isBeyondHead()) throw error;
    return await layoutOfSpooled(await spoolSource(source, tmp), sectorSize);
  }
}

async function layoutOfSpooled(source: DiskSource, sectorSize?: number): Promise<{ source: DiskSource; layout: DiskLayout }> {
  try {
    return { source, layout: await readLayout(source.readAt, sectorSize) };
  } catch (error) {
    await source.close();
    throw error;
  }
}

async function importFrom(source: DiskSource, layout: DiskLayout, session: WriteSession, onProgress: OnProgress): Promise<Imported> {
  const tree = createTreeWriter((bytes) => session.put(bytes, 'pages'));
  const { sizeBytes, usedBytes } = await storeContent(
    { read: source.read, allocate: source.allocate, starts: regionStarts(layout.partitionTable.partitions) },
    tree,
    session,
    () => onProgress(source.progress().done, source.progress().total),
  );
  if (sizeBytes % layout.sectorSize !== 0)
    throw notADisk(`its ${sizeBytes} bytes are no multiple of the sector size, ${layout.sectorSize}`);
  checkPartitionsFit(layout.partitionTable.partitions, sizeBytes);
  const disk = { ...layout, sizeBytes };
  const root = encodeRoot({ format: 1, kind: 'disk', sizeBytes, usedBytes, disk, tree: await tree.finish() });
  const manifest = await session.put(root, 'pages');
  const { storedBytes } = await session.finish();
  return { manifest, kind: 'disk', sizeBytes, usedBytes, storedBytes, disk };
}

export type Content = {
  readonly read: (buffer: Buffer) => Promise<number>;
  readonly allocate?: (bytes: number) => Buffer;
  /** Where the chunk grid starts anew: ascending, first 0. */
  readonly starts: readonly number[];
};

const READ_BYTES = 4 * 1024 * 1024;
/** What one pass may leave for the next: an unfinished chunk and a piece of a block. */
const CARRY_BYTES = MAX_CHUNK_BYTES + BLOCK_BYTES;

/**
 * Cuts content into extents, stores the chunks, and appends the extents to the tree. While one
 * buffer is hashed, the next is read.
 */
export async function storeContent(
  content: Content,
  tree: TreeWriter,
  session: WriteSession,
  onPass: () => void,
): Promise<{ sizeBytes: number; usedBytes: number }> {
  const extents = createExtentSink(tree, session);
  const starts = [...content.starts.slice(1), Number.POSITIVE_INFINITY];
  const allocate = content.allocate ?? Buffer.allocUnsafe;
  let [current, spare] = [allocate(CARRY_BYTES + READ_BYTES), allocate(CARRY_BYTES + READ_BYTES)];
  let offset = 0;
  let readBytes = await content.read(current.subarray(CARRY_BYTES));
  let window = current.subarray(CARRY_BYTES, CARRY_BYTES + readBytes);
  while (window.length > 0) {
    const isLast = readBytes < READ_BYTES;
    const next = isLast ? Promise.resolve(0) : content.read(spare.subarray(CARRY_BYTES));
    // Awaited below; until then a failure of the pass itself goes first.
    next.catch(() => undefined);
    const consumed = await storeWindow(window, offset, { starts, isLast }, extents);
    offset += consumed;
    if (offset > MAX_DISK_BYTES) throw notADisk('it never ends');
    const carry = window.subarray(consumed);
    carry.copy(spare, CARRY_BYTES - carry.length);
    readBytes = await next;
    window = spare.subarray(CARRY_BYTES - carry.length, CARRY_BYTES + readBytes);
    [current, spare] = [spare, current];
    onPass();
  }
  await extents.endRegion();
  return { sizeBytes: offset, usedBytes: extents.usedBytes() };
}

type Grid = { readonly starts: number[]; readonly isLast: boolean };

/** One pass over the octets at hand, region by region; gives how many were consumed. */
async function storeWindow(window: Buffer, offset: number, grid: Grid, extents: ExtentSink): Promise<number> {
  let position = 0;
  while (position < window.length) {
    const regionEnd = (grid.starts[0] ?? Number.POSITIVE_INFINITY) - offset;
    const limit = Math.min(regionEnd, window.length);
    const atEnd = regionEnd <= window.length || grid.isLast;
    const piece = window.subarray(position, limit);
    const { cuts, consumed } = cutBlocks(piece, atEnd);
    for (const cut of cuts) {
      if (cut.kind === 'zero') await extents.zero(cut.length);
      else await extents.data(piece.subarray(cut.offset, cut.offset + cut.length));
    }
    position += consumed;
    if (regionEnd > window.length) break;
    await extents.endRegion();
    grid.starts.shift();
  }
  return position;
}

type ExtentSink = {
  zero(length: number): Promise<void>;
  data(bytes: Buffer): Promise<void>;
  endRegion(): Promise<void>;
  usedBytes(): number;
};

/** Joins neighbouring zeros inside a region. */
function createExtentSink(tree: TreeWriter, session: WriteSession): ExtentSink {
  let zeros = 0;
  let used = 0;
  async function flushZeros(): Promise<void> {
    if (zeros === 0) return;
    const length = zeros;
    zeros = 0;
    await tree.add({ kind: 'zero', length });
  }
  return {
    async zero(length) {
      zeros += length;
    },
    async data(bytes) {
      await flushZeros();
      used += bytes.length;
      await tree.add({ kind: 'data', length: bytes.length, digest: await session.put(bytes, 'data') });
    },
    endRegion: flushZeros,
    usedBytes: () => used,
  };
}
