import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import { progressOf } from '../../core/progress.ts';
import type { ArchivePlan } from '../../core/sync-protocol.ts';
import { requireRoom } from './free-space.ts';
import { type RunPlan, sumBytes } from './plan.ts';
import type { RunTools } from './ports.ts';
import { retryUnreachable } from './retry.ts';
import type { Outcome } from './run.ts';

const FIRST_POLL_MS = 100;
const LONGEST_POLL_MS = 5_000;
/** After so many archives the same content is still not complete here: something is wrong that another one will not mend. */
const MOST_ROUNDS = 5;

/** Asks the parent for the archive have -> want, waiting while it builds, and checks that its parts and packs will fit here. */
export async function requestArchive(tools: RunTools, plan: RunPlan): Promise<Outcome> {
  if (plan.rounds >= MOST_ROUNDS) throw keepsLacking(plan);
  const archive = await pollArchive(tools, plan);
  const absent = (archive.absent ?? []) as Digest[];
  const want = plan.want.filter((manifest) => !absent.includes(manifest));
  const left = archive.parts.filter((part) => !plan.unpacked.includes(part.name));
  const largest = Math.max(0, ...left.map((part) => part.sizeBytes));
  // The packs take about what the parts weigh; one part is being unpacked while the next one arrives.
  await requireRoom(tools, sumBytes(left) + 2 * largest);
  await tools.records.save({ bytesNeeded: sumBytes(archive.parts) });
  const kept = { key: archive.key, parts: archive.parts };
  const known = { ...plan, want, absent: [...new Set([...plan.absent, ...absent])] };
  return { event: 'planned', plan: { ...known, archive: kept, rounds: plan.rounds + 1 } };
}

async function pollArchive(tools: RunTools, plan: RunPlan): Promise<ArchivePlan> {
  const startedMs = tools.monotonicMs();
  for (let waitMs = FIRST_POLL_MS; ; waitMs = Math.min(LONGEST_POLL_MS, waitMs * 2)) {
    const archive = await retryUnreachable(tools, () => tools.content.requestArchive(plan));
    if (archive.state === 'ready') return archive;
    const progress = progressOf('archive', archive.doneBytes, archive.totalBytes, tools.monotonicMs() - startedMs);
    await tools.records.save({ progress });
    await tools.sleep(waitMs);
    tools.signal.throwIfAborted();
  }
}

function keepsLacking(plan: RunPlan): AppError {
  return new AppError('mismatch', `${plan.want.length} image(s) are still incomplete after ${plan.rounds} archives`, {
    hint: 'waystation store check here and at the parent; then run again',
  });
}
