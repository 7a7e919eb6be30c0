import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../core/errors.ts';
import { progressOf } from '../../core/progress.ts';
import type { ArchivePart } from '../../core/sync-protocol.ts';
import { type Arrival, startFetch } from './arrival.ts';
import { requireRoom } from './free-space.ts';
import { type LockedPart, lockPart, removeOtherParts } from './incoming.ts';
import { partsLeft, type RunPlan, sumBytes } from './plan.ts';
import type { RunTools } from './ports.ts';
import type { Outcome } from './run.ts';

const UNREADABLE = ['bad_data', 'version_mismatch'];
const PROGRESS_EVERY_MS = 500;

/**
 * Brings the parts one after the other and unpacks each while it arrives: every frame of it is verified on its own. The next
 * one's rsync is ready when the last octets of one cross, so that the link is never idle. A part is recorded when its content is durable in
 * our packs, and only then deleted: killed in between, it is unpacked again, not fetched again.
 */
export async function transferParts(tools: RunTools, from: RunPlan): Promise<Outcome> {
  let plan = from;
  const report = progressReporter(tools, from);
  await removeOtherParts(
    tools.incoming,
    partsLeft(from).map((part) => part.name),
  );
  const heldBefore = await heldBytes(tools, from);
  await requireRoom(tools, Math.max(0, sumBytes(partsLeft(from)) - heldBefore));
  const land = async (part: ArchivePart, locked: LockedPart, { fetched, before, after }: Landing) => {
    try {
      await unpackMeanwhile(tools, { path: locked.path, sizeBytes: part.sizeBytes, fetched, before });
      plan = { ...plan, unpacked: [...plan.unpacked, part.name] };
      await tools.records.save({ plan });
      await locked.remove();
    } catch (error) {
      // What was begun behind it would wait for nothing.
      after.abort(error);
      // A whole part that cannot be read will not get better by lying there; one for which there is no room will. When it was the part
      // before that failed, nothing is wrong with this one.
      const isOurs = await before.then(
        () => true,
        () => false,
      );
      if (isOurs && error instanceof AppError && UNREADABLE.includes(error.code)) await locked.remove();
      throw error;
    } finally {
      await locked.release();
    }
  };
  let landing: Promise<void> = Promise.resolve();
  let turn: Arrival['next'] | undefined;
  let stop = tools.signal;
  try {
    for (const part of partsLeft(from)) {
      const locked = await lockPart(tools.incoming, part.name, { signal: tools.signal });
      const before = landing;
      const after = new AbortController();
      const { near, fetched, next } = startFetch(
        { ...tools, signal: stop },
        { key: keyOf(from), part, locked, turn, onBytes: report(part) },
      );
      landing = land(part, locked, { fetched, before, after });
      // Awaited after the next part has begun: until then a failure must not be nobody's, which would end the process.
      landing.catch(() => undefined);
      await near;
      // So much lies here unpacked at most: a part that has arrived, and the next one on its way.
      await before;
      turn = next;
      stop = AbortSignal.any([tools.signal, after.signal]);
    }
    await landing;
  } catch (error) {
    await Promise.allSettled([landing]);
    if (!(error instanceof AppError) || error.code !== 'not_found') throw error;
    // A parent that was started anew and has forgotten the archive gives the same one again; only what never comes further ends.
    const isFurther = plan.unpacked.length > from.unpacked.length || (await heldBytes(tools, plan)) > heldBefore;
    return { event: 'evicted', plan: isFurther ? { ...plan, rounds: 0 } : plan };
  }
  return { event: 'landed', plan };
}

/** What of the parts that are left lies here. To be known before anything is asked of the parent: a run that waits for space would else send something again each time it looks. */
async function heldBytes(tools: RunTools, plan: RunPlan): Promise<number> {
  // Nothing of it is here yet.
  const held = await Promise.all(partsLeft(plan).map(({ name }) => stat(join(tools.incoming, name, name)).catch(() => undefined)));
  return held.reduce((sum, found) => sum + (found?.size ?? 0), 0);
}

type Landing = {
  readonly fetched: Promise<void>;
  /** The part before is unpacked. */
  readonly before: Promise<void>;
  /** Ends what was begun behind this part when it cannot be had. */
  readonly after: AbortController;
};

type Meanwhile = Pick<Landing, 'fetched' | 'before'> & { readonly path: string; readonly sizeBytes: number };

/**
 * Unpacks a part while it arrives, after the one before it. Resolves when all of it is in our packs and rsync is done
 * with it; rejects only when both are over, so that who lets the lock go leaves nobody behind.
 */
async function unpackMeanwhile({ store }: RunTools, { path, sizeBytes, fetched, before }: Meanwhile): Promise<void> {
  const unpacked = before.then(() => store.unpackGrowing(path, { sizeBytes, isRight: fetched }));
  const [whole, turn, taken] = await Promise.allSettled([fetched, before, unpacked]);
  for (const one of [whole, turn]) if (one.status === 'rejected') throw one.reason;
  // It met damage that rsync has mended since, or another file of that name: the whole part decides.
  if (taken.status === 'rejected') await store.unpackPart(path);
}

function keyOf(plan: RunPlan): string {
  if (plan.archive === null) throw new Error('a run came to transfer without an archive');
  return plan.archive.key;
}

/** Writes progress down now and then. Lost updates do no harm: the next one tells more. */
function progressReporter(tools: RunTools, plan: RunPlan): (part: ArchivePart) => (heldBytes: number) => void {
  const parts = plan.archive?.parts ?? [];
  const totalBytes = sumBytes(parts);
  const atStart = totalBytes - sumBytes(partsLeft(plan));
  const startedMs = tools.monotonicMs();
  let reportedMs = Number.NEGATIVE_INFINITY;
  return (part) => {
    const before = sumBytes(parts.slice(0, parts.indexOf(part)));
    return (heldBytes) => {
      const now = tools.monotonicMs();
      if (now - reportedMs < PROGRESS_EVERY_MS) return;
      reportedMs = now;
      const { etaSeconds } = progressOf('transfer', before + heldBytes - atStart, totalBytes - atStart, now - startedMs);
      const progress = { ...progressOf('transfer', before + heldBytes, totalBytes, now - startedMs), etaSeconds };
      // Progress is for the eye; what must not be lost is saved by the states themselves.
      tools.records.save({ progress }).catch(() => undefined);
    };
  };
}
