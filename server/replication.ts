import type { Json } from '../core/canonical-json.ts';
import { AppError } from '../core/errors.ts';
import type { Id } from '../core/ids.ts';
import { mayStartAt } from '../core/schedule/windows.ts';
import { type Link, listLinks } from './db/links.ts';
import { findUnfinishedRun, insertRun, nextRunId, type Run, type RunHead, type RunTrigger } from './db/runs.ts';
import { executeUnfinishedRun } from './replication/execute.ts';
import { followParent } from './replication/follow-parent.ts';
import { keepParentConnections } from './replication/parent-agents.ts';
import { zoneOf } from './schedule/cron.ts';
import { startSchedule } from './schedule/loop.ts';
import { refusePaused } from './schedule/stops.ts';
import { SCHEDULES } from './schedule/topic.ts';
import type { Site } from './site.ts';

/** The topic that wakes the replicator of a running server. */
export const RUN_REQUESTS = 'run-requests';
/** How often the replicator looks for work although nobody called: a wake-up may be lost. */
const LOOK_AGAIN_MS = 30_000;
/** Why a run that the parent's news asks for does not start yet. */
const LATER: readonly string[] = ['run_in_progress', 'disabled', 'window_closed'];

/**
 * Replication in a running server: goes on with what a killed process left, runs by the schedule of each link, and
 * takes requests (`requestRun`). The runs table is the queue; one loop works on it, so a link has one run at a time.
 */
export function startReplication(site: Site): { readonly nudge: () => void; readonly close: () => Promise<void> } {
  const stopping = new AbortController();
  const nudge = () => site.wake.notify(RUN_REQUESTS);
  const schedule = startSchedule(site, nudge);
  const connections = keepParentConnections(site);
  const loop = workUntil(site, stopping.signal);
  const following = followParent({ site, signal: stopping.signal, request: (link) => requestIfOpen(site, link) });
  return {
    nudge,
    close: async () => {
      stopping.abort();
      await schedule.close();
      await loop;
      await following;
      connections.close();
    },
  };
}

async function workUntil(site: Site, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const woken = site.wake.wait(RUN_REQUESTS, LOOK_AGAIN_MS, signal);
    try {
      for (const link of await listLinks(site.db)) {
        // A run that is owed may follow the one that has ended.
        if (!signal.aborted && (await executeUnfinishedRun(site, link.id, signal, { waitsForSpace: true })) !== undefined)
          site.wake.notify(SCHEDULES);
      }
    } catch (error) {
      // The run stays unfinished and is taken up again: at the next look, or by the next process.
      if (!signal.aborted) site.log.error('replication stopped', { error: describe(error) });
    }
    await woken;
  }
}

/** A run that somebody asks for. With `inWindow` it starts and stops as the link's windows say, else they do not count. */
export type RunWish = { readonly trigger: RunTrigger; readonly inWindow?: boolean };

/**
 * Puts a run in the queue of a link and wakes the replicator. Throws `run_in_progress` when one is unfinished,
 * `disabled` when the link is paused, `window_closed`, and `not_found` when this server has no parent.
 */
export async function requestRun(site: Site, wish: RunWish & { readonly link?: Link }): Promise<Id> {
  const target = wish.link ?? (await onlyLink(site));
  const unfinished = await findUnfinishedRun(site.db, target.id);
  if (unfinished !== undefined) throw inProgress(unfinished);
  const id = await addRun(site, target, wish);
  site.wake.notify(RUN_REQUESTS);
  return id;
}

/** A run because the parent has published; undefined while the link's window is shut, it is paused, or a run is going. */
async function requestIfOpen(site: Site, link: Link): Promise<Id | undefined> {
  try {
    return await requestRun(site, { trigger: 'parent', inWindow: true, link });
  } catch (error) {
    if (error instanceof AppError && LATER.includes(error.code)) return undefined;
    throw error;
  }
}

/**
 * One run in this process, from the beginning to its end: for `sync run` while no server is up. An unfinished run is
 * gone on with, under its id and trigger. The caller has opened the site, and with it holds DIR/lock.
 */
export async function runOnce(site: Site, wish: RunWish & { readonly signal?: AbortSignal }): Promise<Run> {
  const link = await onlyLink(site);
  const signal = wish.signal ?? new AbortController().signal;
  await finishRepairs(site, link, signal);
  if ((await findUnfinishedRun(site.db, link.id)) === undefined) await addRun(site, link, wish);
  const run = await executeUnfinishedRun(site, link.id, signal);
  if (run === undefined) throw new Error(`the run of link ${link.id} is gone`);
  return run;
}

/** Repairs that were cut short bring single chunks: they are no answer to who asked for a run, and there may be several. */
async function finishRepairs(site: Site, link: Link, signal: AbortSignal): Promise<void> {
  for (let before: Id | undefined; ; ) {
    const next = await findUnfinishedRun(site.db, link.id);
    if (next?.trigger !== 'repair' || next.id === before) return;
    before = next.id;
    await executeUnfinishedRun(site, link.id, signal);
  }
}

async function addRun(site: Site, link: Link, { trigger, inWindow = false }: RunWish): Promise<Id> {
  refusePaused(link);
  const at = site.now();
  const opensAt = inWindow ? mayStartAt(link.windows, zoneOf(link.timezone), at) : at;
  if (opensAt > at) throw windowShut(link, opensAt);
  const id = await nextRunId(site.db, at);
  await insertRun(site.db, { id, linkId: link.id, state: 'waiting-parent', trigger, fencing: 0, startedAt: at, inWindow });
  return id;
}

/** The link to our parent. Throws `not_found` when there is none. */
export async function onlyLink(site: Site): Promise<Link> {
  const [link] = await listLinks(site.db);
  if (link !== undefined) return link;
  throw new AppError('not_found', 'this server has no parent to replicate from', {
    hint: 'waystation server token at the parent, then waystation server join URL here',
  });
}

function windowShut(link: Link, opensAt: number): AppError {
  return new AppError(
    'window_closed',
    `runs may start ${link.windows.mayStart} (${link.timezone}), next at ${new Date(opensAt).toISOString()}`,
    {
      hint: 'waystation sync run without --in-window starts one now',
    },
  );
}

function inProgress(run: RunHead): AppError {
  return new AppError('run_in_progress', `run ${run.id} is in progress (${run.state})`, { hint: 'waystation sync status shows it' });
}

function describe(error: unknown): Json {
  return error instanceof Error ? error.message : String(error);
}
