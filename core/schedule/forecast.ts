import type { EgressShare } from '../sync-protocol.ts';
import { type Caps, capAt } from './caps.ts';
import { mustStopAt, type Windows } from './windows.ts';
import type { Zone } from './zone.ts';

/** What decides when so many bytes will be here. Times are epoch ms. */
export type ForecastInput = {
  readonly bytes: number;
  readonly now: number;
  /** Since when a run is at it; null: the next one begins at `nextStart`, or now when there is no schedule. */
  readonly runningSince: number | null;
  /** Whether runs keep to `mustStop`: those of the schedule do, a person's does not. */
  readonly isInWindow: boolean;
  readonly zone: Zone;
  readonly windows: Windows;
  readonly caps: Caps;
  /** Bits per second that the line was seen to give; null: never measured. */
  readonly lineBps: number | null;
  /** What the parent's limit leaves us; null: it has none, or did not tell. */
  readonly share: EgressShare | null;
  /** When the next run begins by itself after that moment; null: none does. */
  readonly nextStart: (after: number) => number | null;
};

/** Nulls: not known, for want of a cap and of a transfer that was measured, or because it takes more nights than are counted. */
export type Forecast = {
  readonly bytes: number;
  readonly startsAt: number;
  readonly doneBy: number | null;
  /** Time of transfer, without the days between nights. */
  readonly durationSeconds: number | null;
  /** Whether one run brings it all before it must stop. */
  readonly fits: boolean | null;
  /** How many runs it takes. */
  readonly nights: number | null;
  /** The parent's limit, where that decided: what it leaves us; `isLeast`: when all its children fetch. Null: caps or the line did. */
  readonly parent: { readonly bps: number; readonly isLeast: boolean } | null;
};

/** More than a year of nights is no plan. */
const MOST_NIGHTS = 400;

/** Predicts from the clock, the caps and what the parent allows alone. Decoding and publishing come on top: seconds. */
export function forecast(input: ForecastInput): Forecast {
  const { bytes, now, runningSince, nextStart } = input;
  const firstStart = runningSince ?? nextStart(now) ?? now;
  let left = bytes * 8;
  let sentMs = 0;
  let parent: Forecast['parent'] = null;
  let start: number | null = firstStart;
  for (let nights = 1; start !== null && nights <= MOST_NIGHTS; nights += 1) {
    const stop = input.isInWindow ? mustStopAt(input.windows, input.zone, start) : null;
    const from = Math.max(start, now);
    const leaves = shareAt(input, start);
    const sent = send(left, { from, until: stop ?? Number.POSITIVE_INFINITY, input, parentBps: leaves?.bps ?? Number.POSITIVE_INFINITY });
    if (sent === undefined) return { bytes, startsAt: firstStart, ...UNKNOWN };
    left = sent.left;
    sentMs += sent.at - from;
    if (sent.isParents) parent = leaves;
    if (left <= 0) {
      const durationSeconds = Math.ceil(sentMs / 1000);
      return { bytes, startsAt: firstStart, doneBy: sent.at, durationSeconds, fits: nights === 1, nights, parent };
    }
    start = nextStart(sent.at - 1);
  }
  return { bytes, startsAt: firstStart, ...UNKNOWN, fits: false, parent };
}

/** Who fetches beside us now says nothing of a run that begins later: then only the least is sure. */
function shareAt({ share, now }: ForecastInput, start: number): Forecast['parent'] {
  if (share === null) return null;
  return start <= now ? { bps: share.bps, isLeast: false } : { bps: share.leastBps, isLeast: true };
}

/**
 * The forecast of a run that is transferring: the pace that is seen counts, whatever caps allow and the line once gave (the parent may
 * share its egress out). `stopAt`: when the run must stop, epoch ms; null: it need not.
 */
export function atPace(
  forecast: Forecast,
  { now, etaSeconds, stopAt }: { readonly now: number; readonly etaSeconds: number; readonly stopAt: number | null },
): Forecast {
  const doneBy = now + etaSeconds * 1000;
  const fits = stopAt === null || doneBy <= stopAt;
  if (fits) return { ...forecast, doneBy, fits, durationSeconds: etaSeconds, nights: 1, parent: null };
  return { ...forecast, doneBy: Math.max(doneBy, forecast.doneBy ?? 0), fits, nights: Math.max(2, forecast.nights ?? 2), parent: null };
}

const UNKNOWN = { doneBy: null, durationSeconds: null, fits: null, nights: null, parent: null };

type Stretch = { readonly from: number; readonly until: number; readonly input: ForecastInput; readonly parentBps: number };

/** `isParents`: for a part of it the parent's limit was what held it back. */
type Sent = { readonly left: number; readonly at: number; readonly isParents: boolean };

/** How many bits are left at the end of a stretch, or when none were any more; undefined when the rate is not known. */
function send(bits: number, { from, until, input: { caps, zone, lineBps }, parentBps }: Stretch): Sent | undefined {
  let left = bits;
  let isParents = false;
  for (let at = from; at < until; ) {
    if (left <= 0) return { left: 0, at, isParents };
    const cap = capAt(caps, zone, at);
    const ownBps = Math.min(cap.bps ?? Number.POSITIVE_INFINITY, lineBps ?? Number.POSITIVE_INFINITY);
    const bps = Math.min(ownBps, parentBps);
    isParents ||= parentBps < ownBps;
    if (bps === Number.POSITIVE_INFINITY) return undefined;
    const end = Math.min(until, cap.until ?? Number.POSITIVE_INFINITY);
    const needsMs = Math.ceil((left / bps) * 1000);
    if (at + needsMs <= end) return { left: 0, at: at + needsMs, isParents };
    left -= ((end - at) / 1000) * bps;
    at = end;
  }
  return { left, at: Math.max(from, until), isParents };
}

/** The forecast in a few words, on the clock of the zone. */
export function forecastWords({ bytes, startsAt, doneBy, fits, nights, parent }: Forecast, zone: Zone): string {
  if (bytes === 0) return 'nothing to fetch';
  const limit = parent === null ? '' : parentWords(parent);
  if (fits === false && doneBy === null) return `does not fit the window${limit}`;
  if (doneBy === null) return 'no cap is set and no transfer was measured yet: nobody knows how long it takes';
  const time = clockWords(doneBy, zone, startsAt);
  return (fits ? `done by ${time}` : `does not fit the window, needs ${nights} nights: done by ${time}`) + limit;
}

function parentWords({ bps, isLeast }: NonNullable<Forecast['parent']>): string {
  const leaves = `the parent's limit leaves this site ${Number((bps / 1_000_000).toPrecision(3))} Mbit/s`;
  return isLeast ? ` at the latest (${leaves} while all its children fetch)` : ` (${leaves})`;
}

/** `05:40`, with the date in front unless it is within a day of `from`. */
function clockWords(ms: number, zone: Zone, from: number): string {
  const two = (value: number) => String(value).padStart(2, '0');
  // Nobody is told an earlier minute than the one in which it is done.
  const { year, month, day, hour, minute } = zone.wallTime(Math.ceil(ms / 60_000) * 60_000);
  const clock = `${two(hour)}:${two(minute)}`;
  return ms - from < 86_400_000 ? clock : `${year}-${two(month)}-${two(day)} ${clock}`;
}
