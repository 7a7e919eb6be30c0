import { rm, stat } from 'node:fs/promises';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import type { ArchivePart } from '../../core/sync-protocol.ts';
import type { Turn } from './arrival.ts';
import { runRsync } from './attempt.ts';
import type { LockedPart } from './incoming.ts';
import type { RunTools } from './ports.ts';
import { waitMs } from './retry.ts';

const MOST_BAD_HASHES = 3;

export type PartWish = {
  readonly key: string;
  readonly part: ArchivePart;
  readonly locked: LockedPart;
  /** When it may have the link, for a part that is begun while the one before it still arrives. */
  readonly turn?: Turn | undefined;
  /** How many bytes of the part are here. */
  readonly onBytes: (heldBytes: number) => void;
};

/**
 * Makes `locked.path` the whole part, size and hash checked whatever rsync said. rsync leaves damage of the same
 * length and over-long files alone and returns 0, so those are removed before it is asked. Resolves when the part is
 * right. Throws `mismatch` after the third bad copy, `unreachable` when the link made no progress `tools.patience`
 * times, and what `runRsync` throws.
 */
export async function fetchPart(tools: RunTools, wish: PartWish): Promise<void> {
  let badHashes = 0;
  let failures = 0;
  let held = await sizeOf(wish.locked.path);
  for (;;) {
    const verdict = await judge(tools, wish);
    if (verdict === 'right') return;
    if (verdict === 'wrong' && ++badHashes > MOST_BAD_HASHES) throw badPart(wish.part);
    try {
      await runRsync(tools, wish);
      if ((await sizeOf(wish.locked.path)) < wish.part.sizeBytes) throw stoppedEarly(wish.part);
      failures = 0;
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'unreachable') throw error;
      tools.signal.throwIfAborted();
      // It was only to be ready in time (rsync gives up what it waits for after 60 s): that says nothing about the link.
      if (wish.turn?.isWhole() === false) {
        await wish.turn.whole;
        continue;
      }
      const now = await sizeOf(wish.locked.path);
      failures = now > held ? 1 : failures + 1;
      held = now;
      if (failures >= tools.patience) throw error;
      await tools.records.save({ error });
      await tools.sleep(waitMs(failures));
    }
    tools.signal.throwIfAborted();
  }
}

/** What lies there: the part, a beginning of it (perhaps of length 0), or something else, which is removed. */
async function judge(tools: RunTools, { part, locked }: PartWish): Promise<'right' | 'unfinished' | 'wrong'> {
  const size = await sizeOf(locked.path);
  if (size < part.sizeBytes) return 'unfinished';
  if (size === part.sizeBytes) {
    const { digest } = await tools.store.hashFile(locked.path);
    if (digest === (`sha256:${part.name}` as Digest)) return 'right';
  }
  await rm(locked.path);
  return 'wrong';
}

async function sizeOf(path: string): Promise<number> {
  // Nothing is there yet; whatever else keeps us from looking, rsync will say.
  const found = await stat(path).catch(() => undefined);
  return found?.size ?? 0;
}

function stoppedEarly(part: ArchivePart): AppError {
  return new AppError('unreachable', `rsync stopped before part ${part.name} was whole, without saying why`, {
    hint: 'see the log of the parent; then run again',
  });
}

function badPart(part: ArchivePart): AppError {
  return new AppError('mismatch', `part ${part.name} arrived with a wrong hash ${MOST_BAD_HASHES} times`, {
    hint: 'waystation store check at the parent; then run again',
  });
}
