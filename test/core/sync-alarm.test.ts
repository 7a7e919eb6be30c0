import assert from 'node:assert/strict';
import { test } from 'node:test';
import { judgeSync, lastSynced } from '../../core/sync-alarm.ts';

const HOUR = 3_600_000;
const at = (hours: number) => ({ now: hours * HOUR, afterMs: 48 * HOUR });

test('an alarm is raised after the time without replication, once, and cleared by the next one', () => {
  assert.equal(judgeSync({ syncedAt: 0, since: 0, isRaised: false }, at(48)), 'stay');
  assert.equal(judgeSync({ syncedAt: 0, since: 0, isRaised: false }, at(49)), 'raise');
  assert.equal(judgeSync({ syncedAt: 0, since: 0, isRaised: true }, at(500)), 'stay');
  assert.equal(judgeSync({ syncedAt: 499 * HOUR, since: 0, isRaised: true }, at(500)), 'clear');
});

test('a site that never synced is judged from its enrolment on', () => {
  assert.equal(judgeSync({ syncedAt: null, since: 100 * HOUR, isRaised: false }, at(140)), 'stay');
  assert.equal(judgeSync({ syncedAt: null, since: 100 * HOUR, isRaised: false }, at(149)), 'raise');
});

test('a clock that went back and an alarm that is switched off raise nothing', () => {
  assert.equal(judgeSync({ syncedAt: 100 * HOUR, since: 0, isRaised: false }, at(0)), 'stay');
  assert.equal(judgeSync({ syncedAt: 0, since: 0, isRaised: false }, { now: 500 * HOUR, afterMs: 0 }), 'stay');
});

test('a run that a child reports counts by how long ago it ended there, whatever its clock shows', () => {
  const told = (lastRunAt: number, saidAt: number) => ({ reportedAt: 50 * HOUR, saidAt, lastRunAt });
  assert.equal(lastSynced(null, null), null);
  assert.equal(lastSynced(40 * HOUR, null), 40 * HOUR);
  assert.equal(lastSynced(null, told(999 * HOUR, 1000 * HOUR)), 49 * HOUR);
  assert.equal(lastSynced(40 * HOUR, told(999 * HOUR, 1000 * HOUR)), 49 * HOUR);
  assert.equal(lastSynced(49.5 * HOUR, told(999 * HOUR, 1000 * HOUR)), 49.5 * HOUR);
  // Its clock went back after the run.
  assert.equal(lastSynced(40 * HOUR, told(1000 * HOUR, 999 * HOUR)), 40 * HOUR);
});
