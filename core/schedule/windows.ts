import { AppError } from '../errors.ts';
import { printable } from '../ids.ts';
import type { WallDate, Zone } from './zone.ts';

/**
 * The two windows of a schedule, on the clock of the site's wall: when a run may start (`22:00-04:00`, over midnight when
 * the end is the earlier one), and the time of day at which one must stop (`06:00`). Null: no such limit.
 */
export type Windows = { readonly mayStart: string | null; readonly mustStop: string | null };

/** Minutes since midnight; `until` at or before `from` lies in the next day. */
export type Hours = { readonly from: number; readonly until: number };
/** Epoch ms, `until` excluded. */
export type Span = { readonly from: number; readonly until: number };

const DAY_MINUTES = 1440;
const MINUTE_MS = 60_000;

/** Reads `22:00-04:00`. Throws `usage`; a window that begins when it ends says nothing and is refused. */
export function parseHours(text: string): Hours {
  const [from, until, more] = text.split('-').map((part) => clockMinutes(part.trim()));
  if (from === undefined || until === undefined || more !== undefined || from === until) {
    throw new AppError('usage', `"${printable(text)}" is not a window of time`, {
      hint: 'from-until on a 24 hour clock, as in 22:00-04:00',
    });
  }
  return { from, until };
}

/** Reads `06:00` as minutes since midnight. Throws `usage`. */
export function parseClock(text: string): number {
  const minutes = clockMinutes(text.trim());
  if (minutes !== undefined) return minutes;
  throw new AppError('usage', `"${printable(text)}" is not a time of day`, { hint: 'hours and minutes on a 24 hour clock, as in 06:00' });
}

/** The windows as they are kept, checked. Throws `usage`. */
export function checkWindows({ mayStart, mustStop }: Windows): Windows {
  if (mayStart !== null) parseHours(mayStart);
  if (mustStop !== null) parseClock(mustStop);
  return { mayStart, mustStop };
}

/** When a run that wants to start now may: `now` itself, or the opening of the next window. */
export function mayStartAt({ mayStart }: Windows, zone: Zone, now: number): number {
  if (mayStart === null) return now;
  const hours = parseHours(mayStart);
  const spans = [-1, 0, 1, 2].map((days) => spanOf(hours, zone, dayAt(zone, now, days)));
  if (spans.some((span) => span.from <= now && now < span.until)) return now;
  return Math.min(...spans.filter((span) => span.from > now).map((span) => span.from));
}

/** When a run that started then must stop; null: it may go on. */
export function mustStopAt({ mustStop }: Windows, zone: Zone, startedAt: number): number | null {
  if (mustStop === null) return null;
  const minutes = parseClock(mustStop);
  const stops = [0, 1, 2].map((days) => clockInstant(zone, dayAt(zone, startedAt, days), minutes));
  return Math.min(...stops.filter((stop) => stop > startedAt));
}

/**
 * The window that opens on that day. One whose hours the clock leaps over in spring keeps its length behind the leap,
 * so that no night is without its window.
 */
export function spanOf({ from, until }: Hours, zone: Zone, date: WallDate): Span {
  const minutes = until > from ? until : until + DAY_MINUTES;
  const opens = clockInstant(zone, date, from);
  const closes = clockInstant(zone, date, minutes);
  return { from: opens, until: closes > opens ? closes : opens + (minutes - from) * MINUTE_MS };
}

/** The date on the wall so many days after that moment's. */
export function dayAt(zone: Zone, ms: number, days: number): WallDate {
  const { year, month, day } = zone.wallTime(ms);
  const date = new Date(Date.UTC(year, month - 1, day + days));
  return { year: date.getUTCFullYear(), month: date.getUTCMonth() + 1, day: date.getUTCDate() };
}

function clockInstant(zone: Zone, date: WallDate, minutes: number): number {
  return zone.instant({ ...date, hour: 0, minute: minutes, second: 0 });
}

function clockMinutes(text: string): number | undefined {
  const match = /^([01]?\d|2[0-3]):([0-5]\d)$/.exec(text);
  return match === null ? undefined : Number(match[1]) * 60 + Number(match[2]);
}
