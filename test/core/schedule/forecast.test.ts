import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Caps, capAt } from '../../../core/schedule/caps.ts';
import { atPace, type Forecast, type ForecastInput, forecast, forecastWords } from '../../../core/schedule/forecast.ts';
import { mayStartAt, mustStopAt } from '../../../core/schedule/windows.ts';
import { openZone } from '../../../core/schedule/zone.ts';

const at = Date.parse;
const MBIT = 1_000_000;
const DAY = 86_400_000;
const MINUTE = 60_000;
const berlin = openZone('Europe/Berlin');
assert.ok(berlin);
const nightly = (hour: number) => (after: number) => {
  for (let day = -1; ; day += 1) {
    const { year, month, day: date } = berlin.wallTime(after);
    const start = berlin.instant({ year, month, day: date + day, hour, minute: 0, second: 0 });
    if (start > after) return start;
  }
};
const input = (change: Partial<ForecastInput>): ForecastInput => ({
  bytes: 0,
  now: at('2026-01-10T12:00:00Z'),
  runningSince: null,
  isInWindow: true,
  zone: berlin,
  windows: { mayStart: null, mustStop: '06:00' },
  caps: { bps: 8 * MBIT, office: null },
  lineBps: null,
  share: null,
  nextStart: nightly(2),
  ...change,
});
const iso = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString().slice(0, 16));

test('what fits the night says by when it is done', () => {
  // 13.2 GB at 1 MB/s are 3 h 40 min.
  const fits = forecast(input({ bytes: 13_200 * MBIT }));
  assert.deepEqual([iso(fits.startsAt), iso(fits.doneBy), fits.durationSeconds], ['2026-01-11T01:00', '2026-01-11T04:40', 13_200]);
  assert.equal(forecastWords(fits, berlin), 'done by 05:40');
});

test('what does not fit says how many nights it needs', () => {
  // Four hours a night are 14.4 GB.
  const two = forecast(input({ bytes: 20_000 * MBIT }));
  assert.deepEqual([two.fits, two.nights, iso(two.doneBy)], [false, 2, '2026-01-12T02:33']);
  assert.equal(forecastWords(two, berlin), 'does not fit the window, needs 2 nights: done by 2026-01-12 03:34');
  const many = forecast(input({ bytes: 14_400 * MBIT * 10 }));
  assert.deepEqual([many.nights, many.fits], [10, false]);
});

test('a night of a change of clocks is an hour shorter or longer', () => {
  const hours = (now: string) => forecast(input({ bytes: 60_000 * MBIT, now: at(now), nextStart: nightly(0) }));
  // From midnight to six: five hours in spring, seven in autumn, six else; 60 GB are 16 h 40 min.
  assert.equal(iso(hours('2026-03-28T12:00:00Z').doneBy), '2026-03-31T03:40');
  assert.equal(iso(hours('2026-10-24T12:00:00Z').doneBy), '2026-10-27T02:40');
});

test('a person’s run and a run under way begin where they are, and a line slower than its cap decides', () => {
  const now = at('2026-01-10T12:00:00Z');
  const person = forecast(input({ bytes: 3600 * MBIT, nextStart: () => null, isInWindow: false }));
  assert.deepEqual([person.startsAt, person.doneBy], [now, now + 3_600_000]);
  const running = forecast(input({ bytes: 3600 * MBIT, runningSince: now - 60_000, lineBps: 4 * MBIT }));
  assert.deepEqual([running.startsAt, running.doneBy, running.durationSeconds], [now - 60_000, now + 7_200_000, 7200]);
  const late = forecast(input({ bytes: 3600 * MBIT, runningSince: now - DAY }));
  assert.deepEqual([late.nights, iso(late.doneBy)], [2, '2026-01-11T02:00']);
});

test('without a cap and a measured line nobody knows, and nothing takes no time', () => {
  const unknown = forecast(input({ bytes: 1, caps: { bps: null, office: null } }));
  assert.deepEqual([unknown.doneBy, unknown.fits, unknown.nights], [null, null, null]);
  assert.match(forecastWords(unknown, berlin), /nobody knows/);
  assert.equal(forecastWords(forecast(input({ bytes: 0 })), berlin), 'nothing to fetch');
  const never = forecast(input({ bytes: 10 ** 12 * 1000 }));
  assert.deepEqual([never.fits, never.doneBy], [false, null]);
});

test('what the parent’s limit leaves this site decides where it is less: now beside those who fetch, later beside all its children', () => {
  const share = { bps: 4 * MBIT, leastBps: 2 * MBIT };
  const person = { nextStart: () => null, isInWindow: false };
  const now = forecast(input({ bytes: 3600 * MBIT, share, ...person }));
  assert.deepEqual([now.durationSeconds, now.parent], [7200, { bps: 4 * MBIT, isLeast: false }]);
  assert.equal(forecastWords(now, berlin), "done by 15:00 (the parent's limit leaves this site 4 Mbit/s)");
  const tonight = forecast(input({ bytes: 1800 * MBIT, share }));
  assert.deepEqual([tonight.durationSeconds, tonight.parent], [7200, { bps: 2 * MBIT, isLeast: true }]);
  assert.equal(
    forecastWords(tonight, berlin),
    "done by 04:00 at the latest (the parent's limit leaves this site 2 Mbit/s while all its children fetch)",
  );
  const slow = forecast(input({ bytes: 1800 * MBIT, share, caps: { bps: MBIT, office: null } }));
  assert.deepEqual([slow.durationSeconds, slow.parent], [14_400, null]);
  // Nothing else is known: the limit alone says how long it takes.
  const alone = forecast(input({ bytes: 3600 * MBIT, share, caps: { bps: null, office: null }, ...person }));
  assert.equal(alone.durationSeconds, 7200);
  assert.equal(atPace(now, { now: 0, etaSeconds: 52, stopAt: null }).parent, null);
});

const office = fc.record({
  hours: fc.constantFrom('mon-fri 08:00-18:00', 'sun-sat 22:00-03:00', 'sat,sun 00:00-23:59'),
  bps: fc.constantFrom(null, MBIT, 16 * MBIT),
});
const caps: fc.Arbitrary<Caps> = fc.record({ bps: fc.constantFrom(2 * MBIT, 8 * MBIT, 50 * MBIT), office: fc.option(office) });
const arbitrary = fc.record({
  bytes: fc.integer({ min: 0, max: 60_000 }).map((mb) => mb * 1_000_000),
  now: fc.integer({ min: at('2026-03-20T00:00:00Z') / MINUTE, max: at('2026-11-05T00:00:00Z') / MINUTE }).map((minute) => minute * MINUTE),
  windows: fc.record({ mayStart: fc.constantFrom(null, '22:00-04:00', '01:00-02:30'), mustStop: fc.constantFrom(null, '06:00', '02:30') }),
  caps,
  lineBps: fc.constantFrom(12 * MBIT, 100 * MBIT),
  hour: fc.integer({ min: 0, max: 23 }),
  isRunning: fc.boolean(),
});

/** The same by walking the clock in steps of a minute: bits that go over the link until that moment, and how many runs that took. */
function walk(given: ForecastInput, until: number): { bits: number; nights: number } {
  let bits = 0;
  let nights = 0;
  for (let start: number | null = given.runningSince ?? given.nextStart(given.now) ?? given.now; start !== null && start < until; ) {
    nights += 1;
    const stop: number = (given.isInWindow ? mustStopAt(given.windows, given.zone, start) : null) ?? Number.POSITIVE_INFINITY;
    const end = Math.min(stop, until);
    for (let now = Math.max(start, given.now); now < end; now += MINUTE) {
      const bps = Math.min(capAt(given.caps, given.zone, now).bps ?? Number.POSITIVE_INFINITY, given.lineBps ?? 0);
      bits += (bps * Math.min(MINUTE, end - now)) / 1000;
    }
    start = stop < until ? given.nextStart(Math.max(stop, given.now) - 1) : null;
  }
  return { bits, nights };
}

test('the bytes of the forecast are those that cross the link until then, in so many runs, whatever caps, windows and clocks say', () => {
  fc.assert(
    fc.property(arbitrary, ({ hour, isRunning, ...rest }) => {
      const clock = nightly(hour);
      const nextStart = (after: number) => mayStartAt(rest.windows, berlin, clock(after));
      const given = input({ ...rest, nextStart, runningSince: isRunning ? rest.now - 30 * MINUTE : null });
      const seen = forecast(given);
      assert.ok(seen.doneBy !== null && seen.durationSeconds !== null && seen.doneBy >= seen.startsAt);
      assert.equal(seen.fits, seen.nights === 1);
      const walked = walk(given, seen.doneBy);
      // A minute's walk at the fastest rate is what the steps may differ by.
      assert.ok(
        Math.abs(walked.bits - given.bytes * 8) <= 60 * 100 * MBIT * 0.02 + given.bytes * 8 * 0.001,
        `${walked.bits} bits of ${given.bytes * 8}`,
      );
      if (given.bytes > 0) assert.equal(walked.nights, seen.nights);
    }),
    { numRuns: 150, seed: 20_261_127 },
  );
});

test('more bytes are never done earlier, and a higher cap never later', () => {
  fc.assert(
    fc.property(arbitrary, ({ hour, isRunning: _isRunning, ...rest }) => {
      const given = input({ ...rest, nextStart: nightly(hour) });
      const { doneBy } = forecast(given);
      const more = forecast({ ...given, bytes: given.bytes + 1_000_000 }).doneBy;
      const faster = forecast({ ...given, caps: { ...given.caps, bps: (given.caps.bps ?? 0) * 2 } }).doneBy;
      assert.ok(doneBy !== null && more !== null && faster !== null && more >= doneBy && faster <= doneBy);
    }),
    { numRuns: 150, seed: 20_261_127 },
  );
});

test('a transfer under way is forecast by the pace that is seen, and told when it meets the end of the window', () => {
  const planned: Forecast = { bytes: 25e6, startsAt: 0, doneBy: 11_000, durationSeconds: 11, fits: true, nights: 1, parent: null };
  const slower = atPace(planned, { now: 0, etaSeconds: 52, stopAt: 60_000 });
  assert.deepEqual([slower.doneBy, slower.durationSeconds, slower.fits, slower.nights], [52_000, 52, true, 1]);
  const late = atPace(planned, { now: 0, etaSeconds: 52, stopAt: 20_000 });
  assert.deepEqual([late.fits, late.nights], [false, 2]);
});
