import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import { basesFor } from './bases.ts';
import { checkBodies } from './check-bodies.ts';
import { union } from './diff.ts';
import type { RunPlan } from './plan.ts';
import type { RunTools } from './ports.ts';
import type { Outcome } from './run.ts';

/**
 * Every chunk was hashed when its part was unpacked; here the manifests are walked once more, so that nothing is
 * published of which a page or chunk is not in our own packs. What lacks is asked for again.
 */
export async function checkComplete(tools: RunTools, plan: RunPlan): Promise<Outcome> {
  if (plan.wantChunks.length > 0) return checkHealed(tools, plan);
  const { complete } = await tools.store.missingOf(union(plan.want, plan.wanted), { areToStay: true });
  const lacking = plan.want.filter((manifest) => !complete.includes(manifest));
  await checkBodies(tools, plan.catalogue?.objects ?? [], complete);
  if (lacking.length === 0) return allOrRest(tools, plan, complete);
  const again = { ...plan, want: lacking, archive: null, unpacked: [] };
  // First what a delta frame could not give here, in plain frames; if that was not it, nothing of ours is relied on.
  if (!plan.isPlain && plan.have.length > 0) return { event: 'lacking', plan: { ...again, isPlain: true } };
  return { event: 'lacking', plan: { ...again, have: [] } };
}

/** What an interrupted run was fetching is here now: the rest comes with an archive of its own, on top of it. */
async function allOrRest(tools: RunTools, plan: RunPlan, complete: readonly Digest[]): Promise<Outcome> {
  const rest = plan.wanted.filter((manifest) => !complete.includes(manifest) && !plan.absent.includes(manifest));
  if (plan.unfinished.length === 0 || rest.length === 0) return { event: 'verified', plan };
  const have = union(await basesFor(tools, rest, plan.catalogue?.objects ?? []), complete);
  const next = {
    want: rest,
    have,
    archive: null,
    unpacked: [],
    unfinished: [],
    isPlain: false,
  };
  return { event: 'lacking', plan: { ...plan, ...next } };
}

async function checkHealed(tools: RunTools, plan: RunPlan): Promise<Outcome> {
  const lacking = await tools.store.lackingOf([...plan.want, ...plan.absent]);
  const left = plan.wantChunks.filter((digest) => lacking.includes(digest));
  if (left.length === 0) return { event: 'healed', plan };
  throw new AppError('not_found', `the parent lacks ${left.length} of the ${plan.wantChunks.length} damaged chunks as well`, {
    hint: 'waystation store check --repair at the parent, or load an archive of the image here; then repeat it',
  });
}
