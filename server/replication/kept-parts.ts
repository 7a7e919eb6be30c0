import { parsePlan } from '../../sync/replicate/plan.ts';
import type { Link } from '../db/links.ts';
import { findLastPlan } from '../db/runs.ts';
import type { Site } from '../site.ts';

/**
 * The parts that the run before unpacked without coming to its end: the same archive has the same parts, and none of
 * them is fetched again. Should gc have taken their content since, `verify` finds it lacking.
 */
export async function keptParts(site: Site, link: Link): Promise<readonly string[]> {
  const last = await findLastPlan(site.db, link.id);
  return last === undefined || last.state === 'done' ? [] : (parsePlan(last.plan)?.unpacked ?? []);
}
