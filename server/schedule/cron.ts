import cron from 'node-cron';
import { AppError } from '../../core/errors.ts';
import { printable } from '../../core/ids.ts';
import { dayAt } from '../../core/schedule/windows.ts';
import { openZone, type WallDate, type Zone } from '../../core/schedule/zone.ts';

/** The link's schedule is the child's own: it decides when its nights are. */
export type Schedule = { readonly schedule: string; readonly timezone: string };

/** Eight years: 29 February comes within them. */
const DAYS_AHEAD = 8 * 366;
const HOURS_OF_A_DAY = 24;
/** A time that is leapt over comes this much later than the clock of the hour says; no zone leaps further but over the date line. */
const LONGEST_LEAP_MS = 2 * 3_600_000;

/**
 * Times of a cron expression (node-cron's: five fields, or six with seconds first) on the clock of a zone.
 *
 * node-cron 4.6.0 knows which days and times an expression names, but not what to make of them when clocks change: in
 * spring it leaves out a night whose time the clock leaps over; in autumn it takes the second 02:30 in Berlin and the
 * first 01:30 in New York, and a schedule of every twenty minutes pauses for an hour. So it is asked about the days
 * only, on a clock that never changes, and the moments are ours: one that names hours happens once on each of its days
 * (`Zone.instant` says when), one for every hour keeps its pace.
 */
export type Cron = {
  /** Epoch ms of the first time after `after`. Throws `usage` when it never comes. */
  next(after: number): number;
};

/** Throws `usage` for an expression or a time zone that is none, and for one that never comes. */
export function openCron({ schedule, timezone }: Schedule): Cron {
  const zone = zoneOf(timezone);
  const { valid, errors } = cron.validateDetailed(schedule);
  if (!valid) {
    const why = errors.map(({ field, message }) => `${field}: ${message}`).join('; ');
    throw new AppError('usage', `"${printable(schedule)}" is not a cron expression (${printable(why)})`, {
      hint: 'minute hour day month weekday, as in "30 2 * * *"',
    });
  }
  const { hour, minute, second } = cron.parse(schedule);
  const times: Times = { hours: ascending(hour), minutes: ascending(minute), seconds: ascending(second) };
  const isDay = dayMatcher(schedule, times);
  const find = times.hours.length === HOURS_OF_A_DAY ? nextOfEveryHour : nextOfNamedHours;
  return {
    next: (after) => {
      const found = find(zone, times, isDay, after);
      if (found === undefined) throw new AppError('usage', `"${printable(schedule)}" never comes`, { hint: 'check day and month' });
      return found;
    },
  };
}

/** The zone of that name. Throws `usage`. */
export function zoneOf(timezone: string): Zone {
  const zone = openZone(timezone);
  if (zone !== undefined) return zone;
  throw new AppError('usage', `"${printable(timezone)}" is not a time zone`, { hint: 'an IANA name such as Europe/Berlin or UTC' });
}

type Times = { readonly hours: readonly number[]; readonly minutes: readonly number[]; readonly seconds: readonly number[] };
type IsDay = (date: WallDate) => boolean;

/** On each of its days, each of its times once, in the order of the clock. */
function nextOfNamedHours(zone: Zone, { hours, minutes, seconds }: Times, isDay: IsDay, after: number): number | undefined {
  for (let days = -1; days < DAYS_AHEAD; days += 1) {
    const date = dayAt(zone, after, days);
    if (!isDay(date)) continue;
    for (const hour of hours) {
      if (zone.instant({ ...date, hour: hour + 1, minute: 0, second: 0 }) + LONGEST_LEAP_MS < after) continue;
      for (const minute of minutes) {
        for (const second of seconds) {
          const at = zone.instant({ ...date, hour, minute, second });
          if (at > after) return at;
        }
      }
    }
  }
  return undefined;
}

/** Each minute that goes by, whatever the clock does in between. */
function nextOfEveryHour(zone: Zone, { minutes, seconds }: Times, isDay: IsDay, after: number): number | undefined {
  const end = after + DAYS_AHEAD * 86_400_000;
  for (let minute = Math.floor(after / 60_000) * 60_000; minute < end; ) {
    const wall = zone.wallTime(minute);
    if (!isDay(wall)) {
      minute = zone.instant({ ...dayAt(zone, minute, 1), hour: 0, minute: 0, second: 0 });
      continue;
    }
    const at = minutes.includes(wall.minute) ? seconds.map((second) => minute + second * 1000).find((ms) => ms > after) : undefined;
    if (at !== undefined) return at;
    minute += 60_000;
  }
  return undefined;
}

function dayMatcher(schedule: string, { hours, minutes, seconds }: Times): IsDay {
  const task = cron.createTask(schedule, () => undefined, { timezone: 'UTC', logger: SILENT });
  void task.destroy();
  const known = new Map<number, boolean>();
  return ({ year, month, day }) => {
    const at = Date.UTC(year, month - 1, day, hours[0], minutes[0], seconds[0]);
    const answer = known.get(at) ?? task.match(new Date(at));
    known.set(at, answer);
    return answer;
  };
}

function ascending(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b);
}

/** Our log says what happened; node-cron need not. */
const SILENT = { info: () => undefined, warn: () => undefined, error: () => undefined, debug: () => undefined };
