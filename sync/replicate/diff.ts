import { checkBodies } from './check-bodies.ts';
import { requireRoom } from './free-space.ts';
import type { RunPlan } from './plan.ts';
import type { RunTools } from './ports.ts';
import type { Outcome } from './run.ts';

type DiffTools = Pick<RunTools, 'store' | 'freeBytes' | 'reserveBytes' | 'incoming'> & {
  readonly records: Pick<RunTools['records'], 'wantedManifests' | 'relatedManifests'>;
};

/** Works out which manifests that we want are not complete here, and on which of ours an archive may build. */
export async function findLacking(tools: DiffTools, plan: RunPlan): Promise<Outcome> {
  const objects = plan.catalogue?.objects ?? [];
  const wanted = await tools.records.wantedManifests(objects);
  const { complete } = await tools.store.missingOf(wanted);
  await checkBodies(tools, objects, complete);
  const want = wanted.filter((manifest) => !complete.includes(manifest));
  if (want.length === 0) return { event: 'complete', plan: { ...plan, wanted, want } };
  await requireRoom(tools, 0);
  const related = (await tools.records.relatedManifests(want, objects)).filter((manifest) => !want.includes(manifest));
  const have = related.length === 0 ? [] : (await tools.store.missingOf(related)).complete;
  return { event: 'lacking', plan: { ...plan, wanted, want, have: [...have].sort() } };
}
