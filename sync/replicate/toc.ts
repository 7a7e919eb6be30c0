import { EMPTY_PLAN, type RunPlan } from './plan.ts';
import type { RunTools } from './ports.ts';
import { retryUnreachable } from './retry.ts';
import type { Outcome } from './run.ts';

/** Fetches what is new at the parent. With nothing new the run is over after one request. */
export async function fetchCatalogue(tools: RunTools, _plan: RunPlan): Promise<Outcome> {
  const catalogue = await retryUnreachable(tools, () => tools.catalogue.read());
  await tools.records.save({ epoch: catalogue.epoch, generation: catalogue.generation });
  return { event: catalogue.objects.length === 0 ? 'nothing-new' : 'listed', plan: { ...EMPTY_PLAN, catalogue } };
}
