import { AppError } from '../errors.ts';
import type { Digest } from '../ids.ts';
import { MAX_PAGE_ENTRIES, MAX_TREE_DEPTH } from './limits.ts';
import { type Entry, encodePage, type LeafEntry, parsePage } from './page.ts';

/** Where a tree of pages begins: the digest of its top page, that page's depth, and leaf entries below it. */
export type TreeReference = { readonly page: Digest; readonly depth: number; readonly entries: number };

/** A stretch of the image at its place. */
export type Extent = LeafEntry & { readonly offset: number };

export type GetChunk = (digest: Digest) => Promise<Buffer>;
export type PutChunk = (bytes: Buffer) => Promise<Digest>;

/** Takes extents in order and stores pages as they fill; at most one open page per level is held. */
export type TreeWriter = {
  add(entry: LeafEntry): Promise<void>;
  /** Stores what is open and gives the tree. Throws `bad_data` for a tree without extents. */
  finish(): Promise<TreeReference>;
};

type Level = { entries: Entry[]; length: number };

/** A writer that stores its pages with `put`. */
export function createTreeWriter(put: PutChunk): TreeWriter {
  const levels: Level[] = [];
  let leaves = 0;

  async function append(depth: number, entry: Entry): Promise<void> {
    const level = levels[depth] ?? { entries: [], length: 0 };
    levels[depth] = level;
    level.entries.push(entry);
    level.length += entry.length;
    if (endsPage(entry) || level.entries.length >= MAX_PAGE_ENTRIES) await close(depth);
  }

  async function close(depth: number): Promise<void> {
    const level = levels[depth];
    if (level === undefined || level.entries.length === 0) return;
    levels[depth] = { entries: [], length: 0 };
    const digest = await put(encodePage({ depth, entries: level.entries }));
    await append(depth + 1, { kind: 'page', length: level.length, digest });
  }

  async function finish(): Promise<TreeReference> {
    if (leaves === 0) throw new AppError('bad_data', 'an image without a single byte has no table of contents');
    for (let depth = 0; ; depth++) {
      const only = levels[depth + 1] === undefined && onlyPage(levels[depth]);
      if (only) return { page: only, depth: depth - 1, entries: leaves };
      await close(depth);
    }
  }

  return {
    add(entry) {
      leaves += 1;
      return append(0, entry);
    },
    finish,
  };
}

function onlyPage(level: Level | undefined): Digest | undefined {
  const [first, second] = level?.entries ?? [];
  return first?.kind === 'page' && second === undefined ? first.digest : undefined;
}

/**
 * Pages end where the digest of an entry says so, one in 1,024 on average: a change inside a page leaves
 * the boundaries around it where they were.
 */
function endsPage(entry: Entry): boolean {
  return 'digest' in entry && (Number.parseInt(entry.digest.slice(-3), 16) & 0x3ff) === 0;
}

export type WalkOptions = {
  /** Only extents that end behind this offset. */
  readonly from?: number;
  /** Asked before a page is read (its length is 0 for the top page); false leaves it out with all below it. */
  readonly visitPage?: (digest: Digest, depth: number, length: number, offset: number) => boolean;
};

/**
 * The extents of a tree in order, with their offsets; at most one page per level is held.
 * Throws `bad_data` for a page of the wrong depth or of another length than its parent says, and whatever `get` throws.
 */
export async function* readExtents(tree: TreeReference, get: GetChunk, options: WalkOptions = {}): AsyncGenerator<Extent> {
  if (tree.depth > MAX_TREE_DEPTH) throw new AppError('bad_data', `a manifest claims ${tree.depth} levels of pages`);
  yield* readPage({ digest: tree.page, depth: tree.depth, offset: 0, length: undefined }, get, options);
}

type PageAt = { digest: Digest; depth: number; offset: number; length: number | undefined };

async function* readPage(at: PageAt, get: GetChunk, options: WalkOptions): AsyncGenerator<Extent> {
  if (options.visitPage && !options.visitPage(at.digest, at.depth, at.length ?? 0, at.offset)) return;
  const page = parsePage(await get(at.digest), at.depth);
  const total = page.entries.reduce((sum, entry) => sum + entry.length, 0);
  if (at.length !== undefined && at.length !== total) {
    throw new AppError('bad_data', `page ${at.digest} covers ${total} bytes, its parent says ${at.length}`);
  }
  let offset = at.offset;
  for (const entry of page.entries) {
    const { length } = entry;
    if (offset + length > (options.from ?? 0)) {
      if (entry.kind === 'page') yield* readPage({ digest: entry.digest, depth: at.depth - 1, offset, length }, get, options);
      else yield { ...entry, offset };
    }
    offset += length;
  }
}
