import { AppError } from '../core/errors.ts';
import { type Caps, checkCaps } from '../core/schedule/caps.ts';
import type { LateWay } from '../core/schedule/decide.ts';
import { checkWindows, type Windows } from '../core/schedule/windows.ts';
import { appendEvent } from './db/events.ts';
import { getLink, type Link, updateLinkCaps, updateLinkDue, updateLinkPause, updateLinkSchedule } from './db/links.ts';
import { inTransaction } from './db/open.ts';
import { listRuns } from './db/runs.ts';
import { openCron, zoneOf } from './schedule/cron.ts';
import { nextStart } from './schedule/next-start.ts';
import { SCHEDULES } from './schedule/topic.ts';
import type { Site } from './site.ts';

/** When a link is to run; what is left out stays as it is. */
export type ScheduleWish = {
  /** Cron expression; null: only on command. */
  readonly schedule?: string | null | undefined;
  readonly timezone?: string | undefined;
  readonly mayStart?: string | null | undefined;
  readonly mustStop?: string | null | undefined;
  readonly late?: LateWay | undefined;
};

/**
 * Sets or ends a link's schedule and tells a running server. Throws `usage` for an expression, zone or window that is none, and for
 * times that are never in the window when late runs are skipped: nothing would ever start.
 */
export async function setSchedule(site: Site, link: Link, wish: ScheduleWish): Promise<Link> {
  const { schedule = link.schedule, timezone = link.timezone, late = link.late } = wish;
  zoneOf(timezone);
  const windows: Windows = checkWindows({
    mayStart: wish.mayStart === undefined ? link.windows.mayStart : wish.mayStart,
    mustStop: wish.mustStop === undefined ? link.windows.mustStop : wish.mustStop,
  });
  const dueAt = schedule === null ? null : openCron({ schedule, timezone }).next(site.now());
  if (schedule !== null && nextStart({ schedule, timezone, windows, late }, site.now()) === null) throw neverStarts(schedule, windows);
  await updateLinkSchedule(site.db, link.id, { schedule, timezone, dueAt, windows, late });
  return changed(site, link);
}

function neverStarts(schedule: string, { mayStart }: Windows): AppError {
  return new AppError('usage', `"${schedule}" is never due within ${mayStart}, and late runs are skipped: no run would ever start`, {
    hint: 'another time or --may-start, or --late chain: then they start when the window opens',
  });
}

/** Sets how fast a link may carry payload; a transfer under way obeys within seconds. Throws `usage`. */
export async function setCaps(site: Site, link: Link, caps: Caps): Promise<Link> {
  await updateLinkCaps(site.db, link.id, checkCaps(caps));
  return changed(site, link);
}

/** Stops a link's run and starts none until `resumeLink`, restarts or not. Harmless when it is paused already. */
export async function pauseLink(site: Site, link: Link, actor: string): Promise<Link> {
  await inTransaction(site.db, async (trx) => {
    if (await updateLinkPause(trx, link.id, { at: site.now(), by: actor })) await note(site, trx, { link, actor, kind: 'link.paused' });
  });
  return changed(site, link);
}

/** Lets a paused link go on; a run that the pause ended is followed by one at once (if the window is open). */
export async function resumeLink(site: Site, link: Link, actor: string): Promise<Link> {
  await inTransaction(site.db, async (trx) => {
    if (!(await updateLinkPause(trx, link.id, null))) return;
    await note(site, trx, { link, actor, kind: 'link.resumed' });
    const [last] = await listRuns(trx, { linkId: link.id, limit: 1 });
    const isInterrupted = last?.error?.code === 'disabled' && last.endedAt !== null && last.endedAt >= (link.paused?.at ?? 0);
    if (isInterrupted && link.owed === null) await updateLinkDue(trx, link.id, link.dueAt, { since: last.startedAt, why: 'paused' });
  });
  return changed(site, link);
}

async function note(site: Site, trx: Site['db'], { link, actor, kind }: { link: Link; actor: string; kind: string }): Promise<void> {
  await appendEvent(trx, { origin: site.self.id, at: site.now(), actor, kind, subject: link.id });
}

async function changed(site: Site, link: Link): Promise<Link> {
  site.wake.notify(SCHEDULES);
  return (await getLink(site.db, link.id)) ?? link;
}
