import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import { EMPTY_PLAN, type RunPlan } from './plan.ts';
import type { RunTools } from './ports.ts';
import type { Outcome } from './run.ts';
import { underSlowWatch } from './slow-watch.ts';

type Work = (tools: RunTools, plan: RunPlan) => Promise<Outcome>;

/*
 * Content may come from further servers than the parent (`ContentSource.turn`). A chunk's hash decides what it is, so it
 * does not matter who gave it; what is wanted is known from the parent's signed catalogue alone.
 */

/**
 * Work that asks for content. When who gives it is away or slow, it goes on with the next server, if there is one: the
 * archive is asked for anew, and parts of it that are here already are not fetched again.
 */
export function fromNext(work: Work): Work {
  return async (given, from) => {
    let plan = from;
    const tools = followPlan(given, (saved) => {
      plan = saved;
    });
    try {
      return await underSlowWatch(tools, (watched) => work(watched, plan));
    } catch (error) {
      if (given.signal.aborted || !(error instanceof AppError)) throw error;
      if (await given.content.turn?.(error)) return { event: 'turned', plan: { ...plan, archive: null, isPlain: false, rounds: 0 } };
      if (!plan.isExtra || !MAY_BE_MISSED.includes(error.code)) throw error;
      // What the parent lacks was to come from somebody else, who is away: the rest is published, this stays known.
      return { event: 'turned-in-vain', plan: { ...plan, want: [], absent: union(plan.absent, plan.want), archive: null } };
    }
  };
}

/** Why another server than the parent may be done without. */
const MAY_BE_MISSED: readonly string[] = [
  'unreachable',
  'not_running',
  'denied',
  'revoked',
  'expired',
  'config',
  'not_found',
  'version_mismatch',
];

/** After everything else is complete: what nobody had so far is asked of the next server. */
export function askingNext(work: Work): Work {
  return async (tools, plan) => {
    const outcome = await work(tools, plan);
    const { absent, wantChunks } = outcome.plan;
    if (outcome.event !== 'verified' || absent.length === 0 || wantChunks.length > 0) return outcome;
    const why = new AppError('not_found', `${absent.length} wanted image(s) are not held there`);
    if (!(await tools.content.turn?.(why))) return outcome;
    const rest = { want: absent, absent: [], archive: null, unpacked: [], isPlain: false, isExtra: true, rounds: 0 };
    return { event: 'lacking', plan: { ...outcome.plan, ...rest } };
  };
}

/**
 * What can be done while the parent is away: images that were wanted before, and those of the catalogue that the run
 * before had accepted already, may be completed from another server. Nothing new is learnt. Undefined when there is no other
 * server, or nothing is lacking.
 */
export async function planWithoutParent(tools: RunTools, plan: RunPlan, error: unknown): Promise<RunPlan | undefined> {
  if (!(error instanceof AppError) || error.code !== 'unreachable' || tools.content.turn === undefined) return undefined;
  const catalogue = (await tools.records.acceptedCatalogue?.()) ?? null;
  const wanted = await tools.records.wantedManifests(catalogue?.objects ?? []);
  const { complete } = await tools.store.missingOf(wanted);
  if (wanted.every((manifest: Digest) => complete.includes(manifest)) || !(await tools.content.turn(error))) return undefined;
  const { code, message, hint } = error;
  return {
    ...EMPTY_PLAN,
    unpacked: plan.unpacked,
    unfinished: plan.unfinished,
    catalogue,
    away: { code, message, ...(hint === undefined ? {} : { hint }) },
  };
}

/** Work may write its plan down half way: `follow` gets the newest one. */
export function followPlan(tools: RunTools, follow: (plan: RunPlan) => void): RunTools {
  const save: RunTools['records']['save'] = async (change) => {
    await tools.records.save(change);
    if (change.plan !== undefined) follow(change.plan);
  };
  return { ...tools, records: { ...tools.records, save } };
}

function union(a: readonly Digest[], b: readonly Digest[]): Digest[] {
  return [...new Set([...a, ...b])];
}
