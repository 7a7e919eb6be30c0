import { requireRoom } from './free-space.ts';
import { manifestsOf } from './image-body.ts';
import type { RunPlan } from './plan.ts';
import type { RunTools } from './ports.ts';
import type { Outcome } from './run.ts';

/** Works out which manifests of the new catalogue are not complete here, and on which of ours an archive may build. */
export async function findLacking(tools: RunTools, plan: RunPlan): Promise<Outcome> {
  const objects = plan.catalogue?.objects ?? [];
  const wanted = manifestsOf(objects);
  const { complete } = await tools.store.missingOf(wanted);
  const want = wanted.filter((manifest) => !complete.includes(manifest));
  if (want.length === 0) return { event: 'complete', plan: { ...plan, want } };
  await requireRoom(tools, 0);
  const related = (await tools.records.relatedManifests(objects)).filter((manifest) => !want.includes(manifest));
  const have = related.length === 0 ? [] : (await tools.store.missingOf(related)).complete;
  return { event: 'lacking', plan: { ...plan, want, have: [...have].sort() } };
}
