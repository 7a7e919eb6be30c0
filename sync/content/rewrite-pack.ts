import { stat } from 'node:fs/promises';
import { type Chunk, decodeFrame, encodeFrame } from '../../core/content/frame.ts';
import type { Frame } from '../../core/content/frame-reader.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import { createPackWriter, type PackWriter } from './pack-writer.ts';
import { type Found, scanPack } from './scan-pack.ts';
import { packPath, type Store } from './store.ts';

export type Rewritten = { readonly keptBytes: number; readonly oldBytes: number };

export type Rewriting = {
  /** Which chunks are worth keeping; all of them without it. */
  readonly keep?: (digest: Digest) => boolean;
  /** Asked at the moment of the change; after a no nothing changes. */
  readonly isStill?: () => boolean;
  /** Chunks that can be saved of a stretch that is no right frame; without it such stretches are left out. */
  readonly salvage?: (found: Found) => Promise<readonly Chunk[]>;
};

/**
 * Writes what is worth keeping of a pack into a new one and changes the rows in one transaction. The old
 * file stays where it is: the caller removes or keeps it. Undefined when `isStill` said no.
 */
export async function rewritePack(store: Store, pack: string, options: Rewriting): Promise<Rewritten | undefined> {
  const { keep = () => true, isStill = () => true, salvage = async () => [] } = options;
  const path = packPath(store.paths, pack);
  const writer = createPackWriter(store, {
    replaces: pack,
    isStillWanted: isStill,
    onCommit: (_, name) => store.pins.followPack(name, pack),
  });
  const oldBytes = (await stat(path)).size;
  try {
    let kept = 0;
    for await (const found of scanPack(path)) {
      if (store.signal.aborted) throw new AppError('cancelled', 'the store was closed');
      const chunks = found.frame ? await intactChunks(found.frame) : [];
      kept += await copyChunks(chunks.length > 0 ? chunks : await salvage(found), found.frame, { keep, writer });
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

type Copying = { readonly keep: (digest: Digest) => boolean; readonly writer: PackWriter };

/** A frame of which everything is kept is copied as it lies. */
async function copyChunks(chunks: readonly Chunk[], frame: Frame | undefined, { keep, writer }: Copying): Promise<number> {
  const kept = chunks.filter((chunk) => keep(chunk.digest));
  if (kept.length === 0) return 0;
  const isWhole = kept.length === frame?.header.chunks.length;
  const octets = isWhole ? Buffer.from(frame.octets) : await encodeFrame(kept);
  const rawBytes = kept.reduce((sum, chunk) => sum + chunk.bytes.length, 0);
  await writer.append(octets, { rawBytes, chunks: kept.map(({ digest, bytes }) => ({ digest, length: bytes.length })) });
  return kept.length;
}

/** The chunks of a frame; none when its sums are right and its content is not. */
export async function intactChunks(frame: Frame): Promise<Chunk[]> {
  try {
    return await decodeFrame(frame.header, frame.payload);
  } catch (error) {
    // Its sums are right and its content is not: it was written so. Nothing of it is worth keeping.
    if (error instanceof AppError && error.code === 'bad_data') return [];
    throw error;
  }
}
