import { MAX_PART_BYTES } from '../../core/content/limits.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import { progressOf } from '../../core/progress.ts';
import type { ArchivePart, ArchivePlan } from '../../core/sync-protocol.ts';
import { requireRoom } from './free-space.ts';
import { type RunPlan, sumBytes } from './plan.ts';
import type { RunTools } from './ports.ts';
import { retryUnreachable } from './retry.ts';
import type { Outcome } from './run.ts';

const FIRST_POLL_MS = 100;
const LONGEST_POLL_MS = 5_000;
/** A parent that has not come further with an archive for so long will not end it either. */
const STANDSTILL_MS = 15 * 60_000;
/** After so many archives the same content is still not complete here: something is wrong that another one will not mend. */
const MOST_ROUNDS = 5;

/** Asks the parent for the archive have -> want, waiting while it builds, and checks that its parts and packs will fit here. */
export async function requestArchive(tools: RunTools, plan: RunPlan): Promise<Outcome> {
  if (plan.rounds >= MOST_ROUNDS) throw keepsLacking(plan);
  const archive = await pollArchive(tools, plan);
  checkParts(archive.parts);
  const absent = (archive.absent ?? []) as Digest[];
  const want = plan.want.filter((manifest) => !absent.includes(manifest));
  const left = archive.parts.filter((part) => !plan.unpacked.includes(part.name));
  const largest = Math.max(0, ...left.map((part) => part.sizeBytes));
  // The packs take about what the parts weigh; one part is being unpacked while the next one arrives.
  await requireRoom(tools, sumBytes(left) + 2 * largest);
  await tools.requireQuota(sumBytes(left));
  await tools.records.save({ bytesNeeded: sumBytes(archive.parts) });
  const kept = { key: archive.key, parts: archive.parts };
  const known = { ...plan, want, absent: [...new Set([...plan.absent, ...absent])] };
  return { event: 'planned', plan: { ...known, archive: kept, rounds: plan.rounds + 1 } };
}

/** Before any of it is asked for: each part once, none larger than parts may be. Throws `bad_data`. */
function checkParts(parts: readonly ArchivePart[]): void {
  const largest = parts.find((part) => part.sizeBytes > MAX_PART_BYTES);
  const what = largest === undefined ? 'names a part twice' : `has a part of ${largest.sizeBytes} bytes, the limit is ${MAX_PART_BYTES}`;
  if (largest === undefined && new Set(parts.map((part) => part.name)).size === parts.length) return;
  throw new AppError('bad_data', `the archive that the parent offers ${what}`, { hint: 'nothing of it was fetched; upgrade the parent' });
}

async function pollArchive(tools: RunTools, plan: RunPlan): Promise<ArchivePlan> {
  const startedMs = tools.monotonicMs();
  let grewMs = startedMs;
  let done = -1;
  for (let waitMs = FIRST_POLL_MS; ; waitMs = Math.min(LONGEST_POLL_MS, waitMs * 2)) {
    const archive = await retryUnreachable(tools, () => tools.content.requestArchive(plan));
    if (archive.state === 'ready') return archive;
    if (archive.doneBytes > done) grewMs = tools.monotonicMs();
    if (tools.monotonicMs() - grewMs > STANDSTILL_MS) throw standstill();
    done = Math.max(done, archive.doneBytes);
    const progress = progressOf('archive', archive.doneBytes, archive.totalBytes, tools.monotonicMs() - startedMs);
    await tools.records.save({ progress });
    await tools.sleep(waitMs);
    tools.signal.throwIfAborted();
  }
}

function standstill(): AppError {
  return new AppError('busy', `the parent has been building the archive for ${STANDSTILL_MS / 60_000} minutes without coming further`, {
    hint: "see the parent's log; then run again",
  });
}

function keepsLacking(plan: RunPlan): AppError {
  return new AppError('mismatch', `${plan.want.length} image(s) are still incomplete after ${plan.rounds} archives`, {
    hint: 'waystation store check here and at the parent; then run again',
  });
}
