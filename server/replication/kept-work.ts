import { parsePlan, type RunPlan } from '../../sync/replicate/plan.ts';
import type { Link } from '../db/links.ts';
import { findLastPlan } from '../db/runs.ts';
import type { Site } from '../site.ts';

/**
 * What the run before left without coming to its end: the parts that it unpacked, and what they are parts of. The same
 * archive has the same parts, and none of them is fetched again. Should gc have taken their content since, `verify` finds it lacking.
 */
export async function keptWork(site: Site, link: Link): Promise<Pick<RunPlan, 'unpacked' | 'unfinished'>> {
  const last = await findLastPlan(site.db, link.id);
  const plan = last === undefined || last.state === 'done' ? undefined : parsePlan(last.plan);
  if (plan === undefined || plan.wantChunks.length > 0) return { unpacked: plan?.unpacked ?? [], unfinished: [] };
  // It may have ended before it knew what it wanted: then what the one before it left counts.
  return { unpacked: plan.unpacked, unfinished: plan.want.length > 0 ? plan.want : plan.unfinished };
}
