import type { RunPlan } from './plan.ts';
import type { RunTools } from './ports.ts';
import type { Outcome } from './run.ts';

/**
 * Every chunk was hashed when its part was unpacked; here the manifests are walked once more, so that nothing is
 * published of which a page or chunk is not in our own packs. What lacks is asked for again, without building on ours.
 */
export async function checkComplete(tools: RunTools, plan: RunPlan): Promise<Outcome> {
  const { complete } = await tools.store.missingOf(plan.want);
  const lacking = plan.want.filter((manifest) => !complete.includes(manifest));
  if (lacking.length === 0) return { event: 'verified', plan };
  return { event: 'lacking', plan: { ...plan, want: lacking, have: [], archive: null, unpacked: [] } };
}
