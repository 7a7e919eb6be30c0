import cron, { type ScheduledTask } from 'node-cron';
import { AppError } from '../core/errors.ts';
import { newId, printable } from '../core/ids.ts';
import { appendEvent } from './db/events.ts';
import { getLink, type Link, listLinks, updateLinkDue, updateLinkSchedule } from './db/links.ts';
import { inTransaction } from './db/open.ts';
import { findUnfinishedRun, insertRun, type RunTrigger } from './db/runs.ts';
import type { Site } from './site.ts';

/** The topic that tells a running server to read the schedules again. */
const SCHEDULES = 'schedules';
/** A timer that fires this late still counts as on time; later than that is node-cron's `missed`, and is caught up. */
const TOLERANCE_MS = 60_000;

/** The link's schedule is the child's own: it decides when its nights are. */
export type Schedule = { readonly schedule: string; readonly timezone: string };

/** Epoch ms of the next time after now. Throws `usage` for an expression or a time zone that is none. */
export function nextTime({ schedule, timezone }: Schedule): number {
  checkTimezone(timezone);
  const { valid, errors } = cron.validateDetailed(schedule);
  if (!valid) {
    const why = errors.map(({ field, message }) => `${field}: ${message}`).join('; ');
    throw new AppError('usage', `"${printable(schedule)}" is not a cron expression (${printable(why)})`, {
      hint: 'minute hour day month weekday, as in "30 2 * * *"',
    });
  }
  const task = cron.createTask(schedule, () => undefined, { timezone, logger: SILENT });
  const [next] = task.getNextRuns(1);
  void task.destroy();
  if (next === undefined) throw new AppError('usage', `"${printable(schedule)}" never comes`, { hint: 'check day and month' });
  return next.getTime();
}

/** Sets or ends (null) a link's schedule and tells a running server. */
export async function setSchedule(site: Site, link: Link, schedule: Schedule | null): Promise<Link> {
  const dueAt = schedule === null ? null : nextTime(schedule);
  await updateLinkSchedule(site.db, link.id, {
    schedule: schedule?.schedule ?? null,
    timezone: schedule?.timezone ?? link.timezone,
    dueAt,
  });
  site.wake.notify(SCHEDULES);
  return (await getLink(site.db, link.id)) ?? link;
}

/**
 * Puts scheduled runs in the queue (`onDue` is called for each). What was due while no server was up, or while the
 * machine slept, is caught up once, however often it was missed.
 */
export function startSchedule(site: Site, onDue: () => void): { readonly close: () => Promise<void> } {
  const stopping = new AbortController();
  const tasks: ScheduledTask[] = [];
  const stopTasks = async () => {
    for (const task of tasks.splice(0)) await task.destroy();
  };
  const watch = async () => {
    while (!stopping.signal.aborted) {
      const woken = site.wake.wait(SCHEDULES, 2 ** 30, stopping.signal);
      try {
        await stopTasks();
        for (const link of await listLinks(site.db)) {
          if (await catchUp(site, link)) onDue();
          if (link.schedule !== null) tasks.push(startTask(site, link, link.schedule, onDue));
        }
      } catch (error) {
        site.log.error('the replication schedule cannot be read', { error: String(error) });
      }
      await woken;
    }
    await stopTasks();
  };
  const watching = watch();
  return {
    close: async () => {
      stopping.abort();
      await watching;
    },
  };
}

function startTask(site: Site, link: Link, schedule: string, onDue: () => void): ScheduledTask {
  const due = (trigger: RunTrigger) => async () => {
    try {
      if (await addScheduledRun(site, link, { schedule, timezone: link.timezone, trigger })) onDue();
    } catch (error) {
      site.log.error('a scheduled replication run could not be started', { link: link.id, error: String(error) });
    }
  };
  const options = { timezone: link.timezone, missedExecutionTolerance: TOLERANCE_MS, suppressMissedWarning: true, logger: SILENT };
  const task = cron.schedule(schedule, due('schedule'), options);
  task.on('execution:missed', due('catch-up'));
  return task;
}

async function catchUp(site: Site, link: Link): Promise<boolean> {
  if (link.schedule === null) return false;
  if (link.dueAt !== null && link.dueAt <= site.now()) {
    return addScheduledRun(site, link, { schedule: link.schedule, timezone: link.timezone, trigger: 'catch-up' });
  }
  if (link.dueAt === null) await updateLinkDue(site.db, link.id, nextTime({ schedule: link.schedule, timezone: link.timezone }));
  return false;
}

/** One transaction: the run is in the queue and the next time is set, or neither. A run that is still going is not doubled: the event says so. */
async function addScheduledRun(site: Site, link: Link, wish: Schedule & { trigger: RunTrigger }): Promise<boolean> {
  const dueAt = nextTime(wish);
  const at = site.now();
  return inTransaction(site.db, async (trx) => {
    await updateLinkDue(trx, link.id, dueAt);
    const unfinished = await findUnfinishedRun(trx, link.id);
    if (unfinished !== undefined) {
      const data = { link: link.id, reason: 'the run before it is still going' };
      await appendEvent(trx, { origin: site.self.id, at, actor: 'schedule', kind: 'run.skipped', subject: unfinished.id, data });
      return false;
    }
    const run = { id: newId(at), linkId: link.id, trigger: wish.trigger, fencing: 0, startedAt: at } as const;
    await insertRun(trx, { ...run, state: 'waiting-parent' });
    return true;
  });
}

function checkTimezone(timezone: string): void {
  try {
    new Intl.DateTimeFormat('en', { timeZone: timezone });
  } catch (cause) {
    throw new AppError('usage', `"${printable(timezone)}" is not a time zone`, {
      hint: 'an IANA name such as Europe/Berlin or UTC',
      cause,
    });
  }
}

/** Our log says what happened; node-cron need not. */
const SILENT = { info: () => undefined, warn: () => undefined, error: () => undefined, debug: () => undefined };
