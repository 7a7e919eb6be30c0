import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readMoment } from '../../../core/schedule/moment.ts';
import { openZone } from '../../../core/schedule/zone.ts';

const berlin = openZone('Europe/Berlin') ?? assert.fail();
const read = (text: string) => {
  const at = readMoment(text, berlin);
  return at === undefined ? undefined : new Date(at).toISOString();
};

test('a time without a zone is one on the clock of the site, in summer and in winter, and through both changes', () => {
  assert.equal(read('2026-12-01T05:00'), '2026-12-01T04:00:00.000Z');
  assert.equal(read('2026-07-01T05:00:30.250'), '2026-07-01T03:00:30.250Z');
  assert.equal(read('2026-03-29T02:30'), '2026-03-29T01:30:00.000Z', 'leapt over: an hour later on the clock');
  assert.equal(read('2026-10-25T02:30'), '2026-10-25T00:30:00.000Z', 'shown twice: the first');
});

test('a time with a zone is that time, wherever the site is', () => {
  assert.equal(read('2026-12-01T05:00Z'), '2026-12-01T05:00:00.000Z');
  assert.equal(read('2026-12-01T05:00:00-05:00'), '2026-12-01T10:00:00.000Z');
});

test('what is no date and time is none', () => {
  for (const text of ['tomorrow', '2026-12-01', '2026-13-01T05:00', '2026-12-01T25:00', '2026-12-01Tnoon', '1969-12-31T05:00Z']) {
    assert.equal(read(text), undefined, text);
  }
});
