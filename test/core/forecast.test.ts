import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forecastGrowth, type Sample } from '../../core/forecast.ts';

const DAY = 86_400_000;
const GB = 1e9;
const now = Date.UTC(2027, 0, 31);

/** One sample a day up to now. */
const daily = (...used: number[]): Sample[] => used.map((usedBytes, n) => ({ at: now - (used.length - 1 - n) * DAY, usedBytes }));

test('a store that grows by as much each day is full on the day that this comes to', () => {
  const forecast = forecastGrowth(daily(10 * GB, 12 * GB, 14 * GB, 16 * GB), { limitBytes: 26 * GB, now });
  assert.deepEqual(forecast, { bytesPerDay: 2 * GB, fullAt: now + 5 * DAY });
});

test('one large import among quiet days is not the growth of every day', () => {
  const forecast = forecastGrowth(daily(...Array(15).fill(10 * GB), ...Array(15).fill(40 * GB)), { limitBytes: 100 * GB, now });
  assert.ok((forecast?.bytesPerDay ?? 0) < 2 * GB, `${forecast?.bytesPerDay}`);
  assert.ok((forecast?.fullAt ?? 0) > now + 30 * DAY);
});

test('a store that shrinks or stands still is never full, one over its limit is full now', () => {
  const limit = { limitBytes: 26 * GB, now };
  assert.deepEqual(forecastGrowth(daily(5 * GB, 4 * GB, 3 * GB), limit), { bytesPerDay: -GB, fullAt: null });
  assert.deepEqual(forecastGrowth(daily(5 * GB, 5 * GB), limit), { bytesPerDay: 0, fullAt: null });
  assert.equal(forecastGrowth(daily(25 * GB, 27 * GB), limit)?.fullAt, now);
});

test('less than a day tells nothing', () => {
  const limit = { limitBytes: GB, now };
  assert.equal(forecastGrowth([], limit), undefined);
  assert.equal(forecastGrowth(daily(5), limit), undefined);
  assert.equal(
    forecastGrowth(
      [
        { at: now - 3_600_000, usedBytes: 1 },
        { at: now, usedBytes: 2 },
      ],
      limit,
    ),
    undefined,
  );
});
