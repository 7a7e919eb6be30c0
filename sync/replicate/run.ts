import { AppError, describeError } from '../../core/errors.ts';
import { isRunEnded, nextRunState, type RunEvent, type RunState } from '../../core/run.ts';
import { requestArchive } from './archive.ts';
import { findLacking } from './diff.ts';
import { askingNext, followPlan, fromNext, planWithoutParent } from './givers.ts';
import { partsLeft, type RunPlan } from './plan.ts';
import type { RunTools } from './ports.ts';
import { retryUnreachable } from './retry.ts';
import { fetchCatalogue } from './toc.ts';
import { transferParts } from './transfer.ts';
import { checkComplete } from './verify.ts';

/** What a state's work led to: the event, and the plan as it stands then. */
export type Outcome = { readonly event: RunEvent; readonly plan: RunPlan };

export type Work = (tools: RunTools, plan: RunPlan) => Promise<Outcome>;

/** What is done in each state that is not an end (core/run.ts tells the story). Each may be repeated from its beginning. */
export const WORK: { readonly [State in RunState]?: Work } = {
  'waiting-parent': async (tools, plan) => {
    try {
      await retryUnreachable(tools, () => tools.catalogue.reach());
      return { event: 'reached', plan };
    } catch (error) {
      const without = await planWithoutParent(tools, plan, error);
      if (without === undefined) throw error;
      return { event: 'parent-away', plan: without };
    }
  },
  toc: fetchCatalogue,
  diff: findLacking,
  archive: fromNext(requestArchive),
  transfer: fromNext(transferParts),
  verify: askingNext(checkComplete),
};

/**
 * Takes a run from the state it is in to an end, writing every step down before the next begins. Resolves with the
 * end state, or with the state in which it waits for space (`tools.waitForSpace`); work that failed is an end state too, with its words in the records, and so is work that was stopped by
 * aborting the signal with `window_closed` or `disabled` as the reason. Rejects when the signal aborts for another reason, or the records
 * themselves cannot be written (`run_in_progress`: somebody else has taken the run over). `works` is for a simulated network.
 */
export async function executeRun(
  given: RunTools,
  from: { readonly state: RunState; readonly plan: RunPlan },
  works = WORK,
): Promise<RunState> {
  let { state, plan } = from;
  const tools = followPlan(given, (saved) => {
    plan = saved;
  });
  let fulls = 0;
  while (!isRunEnded(state)) {
    try {
      // What is complete is published, window or not; only the end of the process comes first.
      if (state !== 'publish' || stopOf(tools.signal) === undefined) tools.signal.throwIfAborted();
      if (state === 'publish') {
        return await publishPlan(tools, plan);
      }
      const outcome = await workOf(works, state)(tools, plan);
      plan = outcome.plan;
      state = move(state, outcome.event);
      await tools.records.save({ state, plan });
      fulls = 0;
    } catch (error) {
      const stop = state === 'publish' ? undefined : stopOf(tools.signal);
      if ((tools.signal.aborted && stop === undefined) || isLost(error)) throw error;
      if (stop === undefined && isFull(error) && tools.waitForSpace !== undefined) {
        await tools.records.save({ error, progress: null });
        if (!(await tools.waitForSpace(++fulls))) return state;
        continue;
      }
      state = move(state, stop !== undefined || isStop(error) ? 'stop' : endOf(state, plan));
      await tools.records.save({ state, error: stop ?? asAppError(error), progress: null });
    }
  }
  return state;
}

function workOf(works: typeof WORK, state: RunState): Work {
  const work = works[state];
  if (work === undefined) throw new Error(`a run has no work in state ${state}`);
  return work;
}

function move(state: RunState, event: RunEvent): RunState {
  const next = nextRunState(state, event);
  if (next === undefined) throw new Error(`a run in state ${state} cannot take ${event}`);
  return next;
}

/** A run that already unpacked something ends `partial`: the next one goes on from what is kept. */
function endOf(state: RunState, plan: RunPlan): RunEvent {
  const isUnderWay = state === 'transfer' || state === 'verify';
  return isUnderWay && plan.archive !== null && partsLeft(plan).length < plan.archive.parts.length ? 'give-up' : 'fail';
}

/** Why the run is to end here and now, keeping what it has; undefined: it is not, or the process is to end. */
function stopOf(signal: AbortSignal): AppError | undefined {
  return signal.aborted && isStop(signal.reason) ? signal.reason : undefined;
}

/** The window has closed, or somebody paused the link, here or at the parent. */
function isStop(error: unknown): error is AppError {
  return error instanceof AppError && (error.code === 'window_closed' || error.code === 'disabled');
}

async function publishPlan({ records }: RunTools, plan: RunPlan): Promise<RunState> {
  if (plan.away === null) {
    await records.publish(catalogueOf(plan));
    return move('publish', 'published');
  }
  const { code, message, hint } = plan.away;
  const why = new AppError(code, `${message}; what was wanted before came from another server`, hint === undefined ? {} : { hint });
  await records.publishWithoutParent?.(plan.catalogue, why);
  return move('publish', 'give-up');
}

/** No end: what has arrived is kept, and the state is entered again when there may be room. */
function isFull(error: unknown): error is AppError {
  return error instanceof AppError && error.code === 'disk_full';
}

function catalogueOf(plan: RunPlan) {
  if (plan.catalogue === null) throw new Error('a run came to publish without a catalogue');
  return plan.catalogue;
}

function isLost(error: unknown): boolean {
  return error instanceof AppError && error.code === 'run_in_progress';
}

function asAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  return new AppError('failed', describeError(error).message, { cause: error });
}
