/** A moment as the clock on the wall of a site shows it. `month` and `day` count from 1, `weekday` from 0, Sunday. */
export type WallTime = {
  readonly year: number;
  readonly month: number;
  readonly day: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
  readonly weekday: number;
};

export type WallDate = Pick<WallTime, 'year' | 'month' | 'day'>;

/** A time zone's clock. */
export type Zone = {
  /** IANA name, `Europe/Berlin`. */
  readonly name: string;
  wallTime(ms: number): WallTime;
  /**
   * Epoch ms at which the clock shows this time. A time that the clock leaps over in spring is counted with the offset before
   * (02:30 becomes 03:30), one that it shows twice in autumn is the first of the two. Days beyond the month's end roll over.
   * Source: RFC 5545 §3.3.5, the form with local time and time zone reference.
   */
  instant(wall: WallDate & { readonly hour: number; readonly minute: number; readonly second: number }): number;
};

const DAY_MS = 86_400_000;
/** No zone changes its offset but at a multiple of this. */
const BLOCK_MS = 900_000;
/** Offsets are slow to find (ICU formats text) and asked for again and again. */
const MOST_KNOWN = 1000;

/** The zone of that name; undefined when there is none. The tables are the runtime's (ICU). */
export function openZone(name: string): Zone | undefined {
  const format = makeFormat(name);
  if (format === undefined) return undefined;
  const known = new Map<number, number>();
  const offsetAt = (ms: number): number => {
    const block = Math.floor(ms / BLOCK_MS);
    const offset = known.get(block) ?? readOffset(format, block * BLOCK_MS);
    if (known.size >= MOST_KNOWN) known.clear();
    known.set(block, offset);
    return offset;
  };
  return {
    name,
    wallTime: (ms) => wallOf(ms + offsetAt(ms)),
    instant: ({ year, month, day, hour, minute, second }) => {
      const naive = Date.UTC(year, month - 1, day, hour, minute, second);
      const before = offsetAt(naive - DAY_MS);
      const after = offsetAt(naive + DAY_MS);
      if (offsetAt(naive - before) === before) return naive - before;
      return offsetAt(naive - after) === after ? naive - after : naive - before;
    },
  };
}

function makeFormat(name: string): Intl.DateTimeFormat | undefined {
  const fields = { year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric', second: 'numeric' } as const;
  try {
    return new Intl.DateTimeFormat('en-u-ca-iso8601', { timeZone: name, hourCycle: 'h23', era: 'short', ...fields });
  } catch {
    // RangeError: no such zone, and that is the answer.
    return undefined;
  }
}

/** How far the clock is ahead of UTC, ms. */
function readOffset(format: Intl.DateTimeFormat, ms: number): number {
  const part: { [type: string]: number } = {};
  for (const { type, value } of format.formatToParts(ms)) part[type] = Number(value);
  const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = part;
  return Date.UTC(year, month - 1, day, hour, minute, second) - ms;
}

function wallOf(shifted: number): WallTime {
  const date = new Date(shifted);
  return {
    year: date.getUTCFullYear(),
    month: date.getUTCMonth() + 1,
    day: date.getUTCDate(),
    hour: date.getUTCHours(),
    minute: date.getUTCMinutes(),
    second: date.getUTCSeconds(),
    weekday: date.getUTCDay(),
  };
}
