import { AppError } from '../errors.ts';
import { printable } from '../ids.ts';
import { dayAt, type Hours, parseHours, type Span, spanOf } from './windows.ts';
import type { Zone } from './zone.ts';

/** How fast a link may carry payload: bits per second (1 Mbit/s is 10^6), null for as fast as it goes. */
export type Caps = {
  readonly bps: number | null;
  /** Inside office hours, `mon-fri 08:00-18:00`; null: no different there. */
  readonly office: { readonly hours: string; readonly bps: number | null } | null;
};

const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
export const MIN_CAP_BPS = 8_000;
export const MAX_CAP_BPS = 1_000_000_000_000;

type OfficeHours = { readonly days: readonly number[]; readonly hours: Hours };

/** Reads `mon-fri 08:00-18:00`, also `mon,wed,fri …`; days from 0, Sunday. Throws `usage`. */
export function parseOfficeHours(text: string): OfficeHours {
  const [dayWords, hourWords, more] = text.trim().toLowerCase().split(/\s+/);
  const days = (dayWords ?? '').split(',').map(parseDays);
  if (hourWords === undefined || more !== undefined || days.includes(undefined)) {
    throw new AppError('usage', `"${printable(text)}" are no office hours`, { hint: 'days, then from-until, as in "mon-fri 08:00-18:00"' });
  }
  return { days: days.flatMap((list) => list ?? []), hours: parseHours(hourWords) };
}

/** The caps as they are kept, checked. Throws `usage`. */
export function checkCaps(caps: Caps): Caps {
  checkRate(caps.bps);
  if (caps.office !== null) {
    checkRate(caps.office.bps);
    parseOfficeHours(caps.office.hours);
  }
  return caps;
}

/** The cap in force then, and when it is next looked at: it holds until `until` (null: for ever). */
export function capAt({ bps, office }: Caps, zone: Zone, now: number): { readonly bps: number | null; readonly until: number | null } {
  if (office === null || office.bps === bps) return { bps, until: null };
  const parsed = parseOfficeHours(office.hours);
  const spans = officeSpans(parsed, zone, now);
  const inside = spans.filter((span) => span.from <= now && now < span.until);
  if (inside.length > 0) return { bps: office.bps, until: Math.max(...inside.map((span) => span.until)) };
  const openings = spans.map((span) => span.from).filter((from) => from > now);
  return { bps, until: Math.min(...openings) };
}

/** Office hours from the day before to a week ahead: at least one of them is yet to open. */
function officeSpans({ days, hours }: OfficeHours, zone: Zone, now: number): Span[] {
  return Array.from({ length: 10 }, (_, n) => dayAt(zone, now, n - 1))
    .filter(({ year, month, day }) => days.includes(new Date(Date.UTC(year, month - 1, day)).getUTCDay()))
    .map((date) => spanOf(hours, zone, date));
}

function parseDays(word: string): number[] | undefined {
  const [first, last = first, more] = word.split('-').map((name) => DAYS.indexOf(name));
  if (first === undefined || first < 0 || last === undefined || last < 0 || more !== undefined) return undefined;
  return Array.from({ length: ((last - first + 7) % 7) + 1 }, (_, n) => (first + n) % 7);
}

function checkRate(bps: number | null): void {
  if (bps === null || (Number.isSafeInteger(bps) && bps >= MIN_CAP_BPS && bps <= MAX_CAP_BPS)) return;
  throw new AppError('usage', `a cap of ${bps} bit/s is out of range`, { hint: 'from 0.008 to 1000000 Mbit/s' });
}
