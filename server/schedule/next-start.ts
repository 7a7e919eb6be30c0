import { mayStartAt } from '../../core/schedule/windows.ts';
import type { Link } from '../db/links.ts';
import { openCron, zoneOf } from './cron.ts';

/** A schedule that misses the window so many times in a row never meets it. */
const MOST_TRIES = 60;

/** What decides when a link's runs start by themselves. */
export type StartTimes = Pick<Link, 'schedule' | 'timezone' | 'windows' | 'late'>;

/**
 * When the schedule starts a run after that moment: its next time, or the opening of the window when that is shut then
 * and late runs follow. Null without a schedule, or with one whose times are never in the window.
 */
export function nextStart({ schedule, timezone, windows, late }: StartTimes, after: number): number | null {
  if (schedule === null) return null;
  const cron = openCron({ schedule, timezone });
  const zone = zoneOf(timezone);
  let due = after;
  for (let tries = 0; tries < MOST_TRIES; tries += 1) {
    due = cron.next(due);
    const startsAt = mayStartAt(windows, zone, due);
    if (startsAt === due || late === 'chain') return startsAt;
    due = startsAt - 1;
  }
  return null;
}

/** When the next run of a link is to start by itself: one that is late, or the next of the schedule. Null: none, or it is paused. */
export function nextLinkStart(link: Link, now: number): number | null {
  if (link.paused !== null) return null;
  const isOverdue = link.schedule !== null && link.dueAt !== null && link.dueAt <= now;
  const opensAt = mayStartAt(link.windows, zoneOf(link.timezone), now);
  if (link.owed !== null) return opensAt;
  if (isOverdue && (opensAt === now || link.late === 'chain')) return opensAt;
  return nextStart(link, link.dueAt === null ? now : Math.max(now, link.dueAt - 1));
}
