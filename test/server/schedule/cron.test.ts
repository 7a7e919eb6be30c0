import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Link } from '../../../server/db/links.ts';
import { openCron } from '../../../server/schedule/cron.ts';
import { nextLinkStart, nextStart } from '../../../server/schedule/next-start.ts';

const iso = (ms: number) => new Date(ms).toISOString().slice(0, 16);

/** The times of a schedule in a span, asked for one after the other as the server does. */
function times(schedule: string, timezone: string, [from, until]: [string, string]): string[] {
  const cron = openCron({ schedule, timezone });
  const found: string[] = [];
  for (let at = cron.next(Date.parse(from)); at < Date.parse(until); at = cron.next(at)) found.push(iso(at));
  return found;
}

for (const [timezone, spring, autumn] of [
  [
    'Europe/Berlin',
    ['2026-03-28T01:30', '2026-03-29T01:30', '2026-03-30T00:30'],
    ['2026-10-24T00:30', '2026-10-25T00:30', '2026-10-26T01:30'],
  ],
  [
    'America/New_York',
    ['2026-03-07T07:30', '2026-03-08T07:30', '2026-03-09T06:30'],
    ['2026-10-31T06:30', '2026-11-01T07:30', '2026-11-02T07:30'],
  ],
] as const) {
  test(`a run at 02:30 happens once each night through both changes of ${timezone}`, () => {
    const span = (middle: string): [string, string] => [`${middle.slice(0, 8)}01T12:00:00Z`, `${middle.slice(0, 8)}31T12:00:00Z`];
    const springTimes = times('30 2 * * *', timezone, span(spring[1]));
    assert.equal(springTimes.length, 30);
    assert.deepEqual(
      springTimes.filter((time) => spring.some((day) => day.slice(0, 10) === time.slice(0, 10))),
      [...spring],
    );
    const first = `${autumn[0].slice(0, 10)}T00:00:00Z`;
    assert.deepEqual(times('30 2 * * *', timezone, [first, `${autumn[2].slice(0, 10)}T12:00:00Z`]), [...autumn]);
  });
}

test('the hour that New York has twice holds one run, also for a server that starts between the two', () => {
  assert.deepEqual(times('30 1 * * *', 'America/New_York', ['2026-10-31T12:00:00Z', '2026-11-02T12:00:00Z']), [
    '2026-11-01T05:30',
    '2026-11-02T06:30',
  ]);
  assert.equal(times('30 1 * * *', 'America/New_York', ['2026-11-01T06:00:00Z', '2026-11-02T12:00:00Z'])[0], '2026-11-02T06:30');
});

test('a server that starts after the leap still has the run that was leapt over before it', () => {
  assert.equal(times('30 2 * * *', 'Europe/Berlin', ['2026-03-29T01:15:00Z', '2026-03-30T12:00:00Z'])[0], '2026-03-29T01:30');
});

test('a schedule of every twenty minutes keeps its pace through both changes', () => {
  for (const [from, until] of [
    ['2026-10-24T22:00:00Z', '2026-10-25T06:00:00Z'],
    ['2026-03-28T22:00:00Z', '2026-03-29T06:00:00Z'],
  ] as const) {
    const found = times('*/20 * * * *', 'Europe/Berlin', [from, until]).map((time) => Date.parse(`${time}Z`));
    assert.ok(found.length > 20);
    assert.ok(found.every((at, n) => n === 0 || at - (found[n - 1] ?? 0) === 1_200_000));
  }
});

test('every schedule moves on, exactly once a day where it names one time of day, in every zone and year', () => {
  for (const timezone of [
    'Europe/Berlin',
    'America/New_York',
    'Australia/Lord_Howe',
    'Africa/Casablanca',
    'America/Sao_Paulo',
    'Asia/Tehran',
  ]) {
    for (const schedule of ['30 2 * * *', '0 0 * * *', '15 1 * * *', '59 23 * * *']) {
      const found = times(schedule, timezone, ['2024-01-01T12:00:00Z', '2026-01-01T12:00:00Z']).map((time) => Date.parse(`${time}Z`));
      assert.equal(found.length, 731, `${schedule} ${timezone}`);
      assert.ok(
        found.every((at, n) => n === 0 || Math.abs(at - (found[n - 1] ?? 0) - 86_400_000) <= 3_600_000),
        `${schedule} ${timezone}`,
      );
    }
  }
});

test('rare days come, days that never come and what is no expression or zone are refused', () => {
  assert.equal(iso(openCron({ schedule: '0 3 29 2 *', timezone: 'UTC' }).next(Date.parse('2026-01-01T00:00:00Z'))), '2028-02-29T03:00');
  assert.equal(iso(openCron({ schedule: '0 3 L * *', timezone: 'UTC' }).next(Date.parse('2026-02-01T00:00:00Z'))), '2026-02-28T03:00');
  for (const schedule of ['every day', '0 3 31 2 *', '61 2 * * *', '']) {
    assert.throws(() => openCron({ schedule, timezone: 'UTC' }).next(0), { code: 'usage' }, schedule);
  }
  assert.throws(() => openCron({ schedule: '0 3 * * *', timezone: 'Europe/Nowhere' }), { code: 'usage' });
});

test('the next start is in the window: later when late runs follow, on another day when they are skipped', () => {
  const link = { schedule: '0 12,23 * * *', timezone: 'UTC', windows: { mayStart: '22:00-04:00', mustStop: null } } as const;
  const morning = Date.parse('2026-01-10T06:00:00Z');
  assert.equal(nextStart({ ...link, late: 'chain' }, morning), Date.parse('2026-01-10T22:00:00Z'));
  assert.equal(nextStart({ ...link, late: 'skip' }, morning), Date.parse('2026-01-10T23:00:00Z'));
  assert.equal(nextStart({ ...link, schedule: '0 12 * * *', late: 'skip' }, morning), null);
  assert.equal(nextStart({ ...link, schedule: null, late: 'skip' }, morning), null);
});

test('a run that is overdue is next, in its window: at once, when it opens, or not any more', () => {
  const at = (text: string) => Date.parse(`2026-01-${text}Z`);
  const link = {
    ...{ schedule: '0 23 * * *', timezone: 'UTC', windows: { mayStart: '22:00-04:00', mustStop: null }, late: 'chain' },
    ...{ paused: null, owed: null, dueAt: at('09T23:00:00') },
  } as unknown as Link;
  assert.equal(nextLinkStart(link, at('10T03:00:00')), at('10T03:00:00'));
  assert.equal(nextLinkStart(link, at('10T12:00:00')), at('10T22:00:00'));
  assert.equal(nextLinkStart({ ...link, late: 'skip' }, at('10T12:00:00')), at('10T23:00:00'));
  assert.equal(
    nextLinkStart({ ...link, owed: { since: 0, why: 'window' }, dueAt: at('10T23:00:00') }, at('10T12:00:00')),
    at('10T22:00:00'),
  );
  assert.equal(nextLinkStart({ ...link, paused: { at: 0, by: 'x' } }, at('10T12:00:00')), null);
});
