import { EMPTY_PLAN, type RunPlan } from './plan.ts';
import type { RunTools } from './ports.ts';
import { retryUnreachable } from './retry.ts';
import type { Outcome } from './run.ts';

/**
 * Fetches what is new at the parent. With nothing new, and nothing known whose content we still want, the run is over
 * after one request. What an interrupted run unpacked stays known.
 */
export async function fetchCatalogue(tools: RunTools, { unpacked, unfinished }: RunPlan): Promise<Outcome> {
  const catalogue = await retryUnreachable(tools, () => tools.catalogue.read());
  await tools.records.save({ epoch: catalogue.epoch, generation: catalogue.generation });
  const isNews = catalogue.objects.length > 0 || (await tools.records.wantedManifests([])).length > 0;
  return { event: isNews ? 'listed' : 'nothing-new', plan: { ...EMPTY_PLAN, unpacked, unfinished, catalogue } };
}
