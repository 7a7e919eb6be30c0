import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Caps, capAt, checkCaps, parseOfficeHours } from '../../../core/schedule/caps.ts';
import { mayStartAt, mustStopAt, parseHours } from '../../../core/schedule/windows.ts';
import { openZone, type Zone } from '../../../core/schedule/zone.ts';

const zone = (name: string): Zone => {
  const found = openZone(name);
  assert.ok(found);
  return found;
};
const at = Date.parse;
const iso = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString().slice(0, 16));
const berlin = zone('Europe/Berlin');
const newYork = zone('America/New_York');

test('a clock on the wall and the moments it shows are each other’s inverse outside the hours of a change', () => {
  for (const name of ['Europe/Berlin', 'America/New_York', 'Asia/Kolkata', 'Australia/Lord_Howe', 'Pacific/Chatham', 'UTC']) {
    const clock = zone(name);
    for (let ms = at('2026-01-01T00:07:13Z'); ms < at('2027-01-01T00:00:00Z'); ms += 11 * 3_600_000) {
      const shown = clock.wallTime(ms);
      const back = clock.instant(shown);
      assert.ok(back === ms || clock.wallTime(back).minute === shown.minute, `${name} ${iso(ms)}`);
      if (back !== ms) assert.ok(ms - back <= 3_600_000 && ms > back, `${name}: the first of two, not ${iso(back)} for ${iso(ms)}`);
    }
  }
});

test('02:30 in spring is 03:30 after the leap, and in autumn the first of the two', () => {
  const half = (clock: Zone, year: number, month: number, day: number) =>
    iso(clock.instant({ year, month, day, hour: 2, minute: 30, second: 0 }));
  assert.equal(half(berlin, 2026, 3, 29), '2026-03-29T01:30');
  assert.equal(half(berlin, 2026, 10, 25), '2026-10-25T00:30');
  assert.equal(half(newYork, 2026, 3, 8), '2026-03-08T07:30');
  assert.equal(iso(newYork.instant({ year: 2026, month: 11, day: 1, hour: 1, minute: 30, second: 0 })), '2026-11-01T05:30');
});

test('there is no zone of a name that the runtime does not know', () => {
  assert.equal(openZone('Europe/Nowhere'), undefined);
});

test('a run waits for the opening of its window, over midnight too, and starts at once inside it', () => {
  const windows = { mayStart: '22:00-04:00', mustStop: null };
  const start = (text: string) => iso(mayStartAt(windows, berlin, at(text)));
  assert.equal(start('2026-01-10T20:59:00Z'), '2026-01-10T21:00');
  assert.equal(start('2026-01-10T21:00:00Z'), '2026-01-10T21:00');
  assert.equal(start('2026-01-11T02:59:00Z'), '2026-01-11T02:59');
  assert.equal(start('2026-01-11T03:00:00Z'), '2026-01-11T21:00');
});

test('a window across a change of clocks keeps its hours on the wall, whole and in one piece', () => {
  const night = { mayStart: '22:00-04:00', mustStop: null };
  const open = (mayStart: string, clock: Zone, text: string) => mayStartAt({ mayStart, mustStop: null }, clock, at(text)) === at(text);
  // Spring: 22:00 CET to 04:00 CEST are five hours.
  assert.equal(iso(mayStartAt(night, berlin, at('2026-03-29T02:00:00Z'))), '2026-03-29T20:00');
  assert.ok(open('22:00-04:00', berlin, '2026-03-29T01:59:00Z'));
  // Autumn: to 04:00 CET are seven hours, and the hour that comes twice is inside both times.
  for (const text of ['2026-10-25T00:30:00Z', '2026-10-25T01:30:00Z', '2026-10-25T02:59:00Z'])
    assert.ok(open('22:00-04:00', berlin, text), text);
  assert.ok(!open('22:00-04:00', berlin, '2026-10-25T03:00:00Z'));
  // A window that ends in the hour that comes twice does not open again for its second half.
  assert.ok(open('01:00-02:30', berlin, '2026-10-25T00:29:00Z'));
  assert.ok(!open('01:00-02:30', berlin, '2026-10-25T01:10:00Z'));
  // A window of hours that do not exist that night is there for the run that was due in it.
  assert.ok(open('02:00-03:00', berlin, '2026-03-29T01:30:00Z'));
  assert.ok(open('02:00-03:00', newYork, '2026-03-08T07:30:00Z'));
});

test('a run must stop at the first such time after it started', () => {
  const stop = (text: string, clock = berlin) => iso(mustStopAt({ mayStart: null, mustStop: '06:00' }, clock, at(text)));
  assert.equal(stop('2026-01-10T21:00:00Z'), '2026-01-11T05:00');
  assert.equal(stop('2026-01-11T05:00:00Z'), '2026-01-12T05:00');
  assert.equal(stop('2026-03-28T21:00:00Z'), '2026-03-29T04:00');
  assert.equal(stop('2026-10-24T20:00:00Z'), '2026-10-25T05:00');
  assert.equal(stop('2026-11-01T03:00:00Z', newYork), '2026-11-01T11:00');
  assert.equal(mustStopAt({ mayStart: null, mustStop: null }, berlin, 0), null);
});

test('what is no window, time, day or rate is refused in words', () => {
  for (const text of ['22-04', '22:00', '24:00-04:00', '22:00-22:00', '22:00-04:00-05:00', '']) {
    assert.throws(() => parseHours(text), { code: 'usage' }, text);
  }
  for (const text of ['08:00-18:00', 'mon', 'mon-fry 08:00-18:00', 'mon 08:00-18:00 x']) {
    assert.throws(() => parseOfficeHours(text), { code: 'usage' }, text);
  }
  for (const bps of [0, -1, 0.5, 7_999, Number.NaN]) assert.throws(() => checkCaps({ bps, office: null }), { code: 'usage' });
});

test('the cap inside office hours holds on the days and hours of the site, and each answer says until when', () => {
  const caps: Caps = { bps: 50_000_000, office: { hours: 'mon-fri 08:00-18:00', bps: 4_000_000 } };
  const cap = (text: string, clock = berlin) => {
    const { bps, until } = capAt(caps, clock, at(text));
    return [bps, iso(until)];
  };
  // 2026-01-09 is a Friday.
  assert.deepEqual(cap('2026-01-09T06:59:00Z'), [50_000_000, '2026-01-09T07:00']);
  assert.deepEqual(cap('2026-01-09T07:00:00Z'), [4_000_000, '2026-01-09T17:00']);
  assert.deepEqual(cap('2026-01-09T17:00:00Z'), [50_000_000, '2026-01-12T07:00']);
  assert.deepEqual(cap('2026-01-12T07:00:00Z', newYork), [50_000_000, '2026-01-12T13:00']);
  // The Monday after the change begins an hour earlier by UTC.
  assert.deepEqual(cap('2026-03-27T17:00:00Z'), [50_000_000, '2026-03-30T06:00']);
  assert.deepEqual(capAt({ bps: null, office: null }, berlin, 0), { bps: null, until: null });
  assert.deepEqual(parseOfficeHours('sat-mon,wed 22:00-06:00').days, [6, 0, 1, 3]);
});
