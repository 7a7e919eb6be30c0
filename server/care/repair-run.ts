import { AppError } from '../../core/errors.ts';
import type { Digest, Id } from '../../core/ids.ts';
import { isRunEnded } from '../../core/run.ts';
import { EMPTY_PLAN } from '../../sync/replicate/plan.ts';
import type { Link } from '../db/links.ts';
import { findUnfinishedRun, getRun, insertRun, nextRunId, type Run } from '../db/runs.ts';
import { executeUnfinishedRun } from '../replication/execute.ts';
import { RUN_REQUESTS } from '../replication.ts';
import type { Site } from '../site.ts';

/** Single chunks, and the manifests that they belong to. */
export type RepairWish = { readonly want: readonly Digest[]; readonly wantChunks: readonly Digest[] };

/** Brings single chunks over a link and gives the run as it ended. Throws `run_in_progress` when the link is at work. */
export type FetchChunks = (site: Site, link: Link, wish: RepairWish) => Promise<Run>;

/** How often a waiting caller looks although nobody called. */
const LOOK_AGAIN_MS = 5_000;
const PATIENCE_MS = 60_000;

/** In a running server: the run takes its turn in the replicator's queue. Throws `cancelled` when `signal` aborts; the run goes on. */
export function fetchThroughQueue(signal: AbortSignal): FetchChunks {
  return async (site, link, wish) => {
    const id = await addInTurn(site, link, { wish, signal });
    for (;;) {
      const woken = site.wake.wait('runs', LOOK_AGAIN_MS, signal);
      site.wake.notify(RUN_REQUESTS);
      const run = await getRun(site.db, id);
      if (run === undefined) throw new Error(`repair ${id} is gone`);
      if (isRunEnded(run.state)) return run;
      await woken;
      if (signal.aborted) throw new AppError('cancelled', `repair ${id} was not waited for`);
    }
  };
}

/**
 * Waits a while for a run that is going on: most are short, and one that is not brings a refusal in words. Others may wait
 * for the same end and be first: then their run is waited for as well.
 */
async function addInTurn(site: Site, link: Link, { wish, signal }: { wish: RepairWish; signal: AbortSignal }): Promise<Id> {
  const until = performance.now() + PATIENCE_MS;
  for (;;) {
    const left = until - performance.now();
    const woken = site.wake.wait('runs', Math.max(0, Math.min(left, LOOK_AGAIN_MS)), signal);
    try {
      return await addRepair(site, link, wish);
    } catch (error) {
      const isWorthWaiting = error instanceof AppError && error.code === 'run_in_progress' && left > 0 && !signal.aborted;
      if (!isWorthWaiting) throw error;
    }
    await woken;
  }
}

/** Under the directory's lock, with no server up: in this process. What was left unfinished is finished first. */
export const fetchHere: FetchChunks = async (site, link, wish) => {
  const signal = new AbortController().signal;
  await executeUnfinishedRun(site, link.id, signal);
  const id = await addRepair(site, link, wish);
  const run = await executeUnfinishedRun(site, link.id, signal);
  if (run === undefined) throw new Error(`repair ${id} is gone`);
  return run;
};

async function addRepair(site: Site, link: Link, { want, wantChunks }: RepairWish): Promise<Id> {
  const unfinished = await findUnfinishedRun(site.db, link.id);
  if (unfinished !== undefined) {
    throw new AppError('run_in_progress', `run ${unfinished.id} is in progress (${unfinished.state})`, {
      hint: 'damaged chunks are fetched when it has ended',
    });
  }
  const id = await nextRunId(site.db, site.now());
  const plan = { ...EMPTY_PLAN, want: [...want].sort(), wantChunks: [...wantChunks].sort() };
  await insertRun(site.db, { id, linkId: link.id, state: 'archive', trigger: 'repair', fencing: 0, startedAt: site.now(), plan });
  return id;
}
