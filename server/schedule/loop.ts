import { decideStart, type StartDecision } from '../../core/schedule/decide.ts';
import { appendEvent } from '../db/events.ts';
import { getLink, type Link, listLinks, updateLinkDue } from '../db/links.ts';
import { inTransaction } from '../db/open.ts';
import { findUnfinishedRun, insertRun, listRuns, nextRunId } from '../db/runs.ts';
import type { Site } from '../site.ts';
import { openCron, zoneOf } from './cron.ts';
import { parentPauseOf } from './parent-pause.ts';
import { SCHEDULES } from './topic.ts';

/** The longest sleep: clocks are set, machines sleep, and wake-ups may be lost. */
const LOOK_AGAIN_MS = 30_000;
/** How long a parent that has paused us is left alone, unless it says that it does no more (an older release does not). */
const REST_MS = 15 * 60_000;
const MOST_IN_A_REST = 10;
/** A clock that is set back by no more than this was put right; by more, it had been wrong. */
const CLOCK_STEP_MS = 10 * 60_000;

/**
 * Puts scheduled runs in the queue (`onDue` is called for each). The next time of each link is in the database, so
 * what was due while no server was up, or while the machine slept, is caught up once, however often it was missed.
 */
export function startSchedule(site: Site, onDue: () => void): { readonly close: () => Promise<void> } {
  const stopping = new AbortController();
  const watch = async () => {
    while (!stopping.signal.aborted) {
      const woken = site.wake.wait(SCHEDULES, LOOK_AGAIN_MS, stopping.signal);
      const sleepMs = await lookAtLinks(site, onDue);
      const alarm = setTimeout(() => site.wake.notify(SCHEDULES), sleepMs);
      await woken;
      clearTimeout(alarm);
    }
  };
  const watching = watch();
  return {
    close: async () => {
      stopping.abort();
      await watching;
    },
  };
}

/** Gives how long nothing is to be done. */
async function lookAtLinks(site: Site, onDue: () => void): Promise<number> {
  let sleepMs = LOOK_AGAIN_MS;
  try {
    for (const { id } of await listLinks(site.db)) {
      const { started, until } = await inTransaction(site.db, (trx) => lookAtLink(site, trx, id));
      if (started) onDue();
      if (until !== null) sleepMs = Math.min(sleepMs, Math.max(0, until - site.now()));
    }
  } catch (error) {
    site.log.error('the replication schedule cannot be read', { error: String(error) });
  }
  return sleepMs;
}

type Look = { readonly started: boolean; readonly until: number | null };
const NOTHING: Look = { started: false, until: null };

type Debt = { readonly owed: Link['owed']; readonly restUntil: number | null };

/**
 * What the link's last run leaves behind. One that the parent paused in its window is owed, and tried again as soon as the parent
 * says that it paused us no more, else after a rest (a person's run is the person's to repeat). One that its window ended is gone on with when the schedule says so: a run that
 * was due meanwhile does not chain to it in the minute in which runs must stop. A run that ended after `now` ended by a
 * wrong clock: nobody rests until then.
 */
async function debtOf(site: Site, trx: Site['db'], link: Link): Promise<Debt> {
  const now = site.now();
  const [last] = await listRuns(trx, { linkId: link.id, limit: 1 });
  const { owed } = link;
  if (last === undefined || last.endedAt === null) return { owed, restUntil: null };
  if (last.error?.code === 'window_closed' && owed?.why === 'running') return { owed: null, restUntil: null };
  const isParents = last.error?.code === 'disabled' && last.inWindow && link.paused === null && (owed === null || owed.why === 'parent');
  if (!isParents) return { owed, restUntil: null };
  const isResumed = last.endedAt > now || (await isLetOn(site, trx, { link, endedAt: last.endedAt }));
  return { owed: owed ?? { since: last.startedAt, why: 'parent' }, restUntil: isResumed ? null : last.endedAt + REST_MS };
}

/** Since that run ended the parent said that it has not paused us. One that says so and pauses us again and again is believed a few times in one rest. */
async function isLetOn(
  site: Site,
  trx: Site['db'],
  { link, endedAt }: { readonly link: Link; readonly endedAt: number },
): Promise<boolean> {
  const told = parentPauseOf(site, link.parentId);
  if (told === undefined || told.isPaused || told.at < endedAt) return false;
  const oldest = (await listRuns(trx, { linkId: link.id, limit: MOST_IN_A_REST })).at(MOST_IN_A_REST - 1);
  return oldest === undefined || oldest.startedAt < endedAt - REST_MS;
}

/** One transaction: the run is in the queue and the next time is set, or neither. */
async function lookAtLink(site: Site, trx: Site['db'], id: Link['id']): Promise<Look> {
  const link = await getLink(trx, id);
  if (link === undefined) return NOTHING;
  const now = site.now();
  const { owed, restUntil } = await debtOf(site, trx, link);
  if (link.schedule === null && owed === null && link.owed === null) return NOTHING;
  const unfinished = await findUnfinishedRun(trx, id);
  const isPaused = link.paused !== null;
  const zone = zoneOf(link.timezone);
  const { late, windows } = link;
  const cron = link.schedule === null ? null : openCron({ schedule: link.schedule, timezone: link.timezone });
  const nextDue = cron?.next(now) ?? null;
  const dueAt = soundDue({ noted: link.dueAt, next: nextDue, farthest: cron?.next(now + CLOCK_STEP_MS) ?? null });
  const decision = decideStart({ now, dueAt, owed, isPaused, isRunning: unfinished !== undefined, restUntil, late, windows, zone });
  if (decision.do === 'wait') {
    if (dueAt !== link.dueAt || owed !== link.owed) await updateLinkDue(trx, id, dueAt, owed);
    return { started: false, until: decision.until };
  }
  await carryOut(site, trx, { link: { ...link, owed }, decision, dueAt, nextDue });
  return { started: decision.do === 'start', until: nextDue };
}

/**
 * The next time that was noted, unless there is none (a link of before this release) or the clock has been set back by more
 * than a step since it was noted: then the nights in between are still to come. One put right by a step repeats no night.
 */
function soundDue({ noted, next, farthest }: { noted: number | null; next: number | null; farthest: number | null }): number | null {
  return noted === null || (farthest !== null && noted > farthest) ? next : noted;
}

type Carried = {
  readonly link: Link;
  readonly decision: Exclude<StartDecision, { do: 'wait' }>;
  readonly dueAt: number | null;
  readonly nextDue: number | null;
};

async function carryOut(site: Site, trx: Site['db'], { link, decision, dueAt, nextDue }: Carried): Promise<void> {
  const at = site.now();
  if (decision.do === 'start') {
    const run = {
      id: await nextRunId(trx, at),
      linkId: link.id,
      state: 'waiting-parent',
      fencing: 0,
      startedAt: at,
      inWindow: true,
    } as const;
    await insertRun(trx, { ...run, trigger: decision.trigger });
    return updateLinkDue(trx, link.id, dueAt !== null && dueAt > at ? dueAt : nextDue, null);
  }
  const owed = decision.do === 'owe' ? { since: link.owed?.since ?? dueAt ?? at, why: decision.why } : link.owed;
  await updateLinkDue(trx, link.id, nextDue, owed);
  // An owed run that is passed again is the same lateness, told once.
  if (decision.do === 'owe' && link.owed !== null) return;
  const data = { link: link.id, reason: decision.why, until: decision.until === null ? null : new Date(decision.until).toISOString() };
  const kind = decision.do === 'owe' ? 'run.late' : 'run.skipped';
  await appendEvent(trx, { origin: site.self.id, at, actor: 'schedule', kind, subject: link.id, data });
  site.log.info(decision.do === 'owe' ? 'a replication run is late' : 'a replication run is skipped', data);
}
