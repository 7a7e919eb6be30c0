import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decideStart, type LinkClock } from '../../../core/schedule/decide.ts';
import { openZone } from '../../../core/schedule/zone.ts';

const zone = openZone('UTC');
assert.ok(zone);
const at = Date.parse;
const clock = (change: Partial<LinkClock>): LinkClock => ({
  now: at('2026-01-10T02:00:00Z'),
  dueAt: at('2026-01-10T02:00:00Z'),
  owed: null,
  isPaused: false,
  isRunning: false,
  restUntil: null,
  late: 'chain',
  windows: { mayStart: null, mustStop: null },
  zone,
  ...change,
});
const night = { mayStart: '22:00-04:00', mustStop: null };
const noon = at('2026-01-10T12:00:00Z');
const opens = at('2026-01-10T22:00:00Z');

test('a run starts when it is due, and a missed one is caught up as such', () => {
  assert.deepEqual(decideStart(clock({})), { do: 'start', trigger: 'schedule' });
  assert.deepEqual(decideStart(clock({ now: at('2026-01-10T09:00:00Z') })), { do: 'start', trigger: 'catch-up' });
  assert.deepEqual(decideStart(clock({ dueAt: at('2026-01-10T03:00:00Z') })), { do: 'wait', until: at('2026-01-10T03:00:00Z') });
  assert.deepEqual(decideStart(clock({ dueAt: null })), { do: 'wait', until: null });
});

test('a run that is due while the one before is going follows it, or is skipped, as the schedule says', () => {
  assert.deepEqual(decideStart(clock({ isRunning: true })), { do: 'owe', why: 'running', until: null });
  assert.deepEqual(decideStart(clock({ isRunning: true, late: 'skip' })), { do: 'skip', why: 'running', until: null });
  const owed = { since: 0, why: 'running' } as const;
  assert.deepEqual(decideStart(clock({ dueAt: noon, owed, isRunning: true })), { do: 'wait', until: noon });
  assert.deepEqual(decideStart(clock({ dueAt: noon, owed })), { do: 'start', trigger: 'chain' });
});

test('a run that comes too late for its window waits for the next one, or is skipped', () => {
  const late = { now: noon, windows: night };
  assert.deepEqual(decideStart(clock(late)), { do: 'owe', why: 'window', until: opens });
  assert.deepEqual(decideStart(clock({ ...late, late: 'skip' })), { do: 'skip', why: 'window', until: opens });
  const owed = { since: 0, why: 'window' } as const;
  const tomorrow = at('2026-01-11T02:00:00Z');
  assert.deepEqual(decideStart(clock({ ...late, dueAt: tomorrow, owed })), { do: 'wait', until: opens });
  assert.deepEqual(decideStart(clock({ ...late, now: opens, dueAt: tomorrow, owed })), { do: 'start', trigger: 'catch-up' });
});

test('nothing starts while the link is paused, and one run follows when it is not', () => {
  const owed = { since: 0, why: 'paused' } as const;
  assert.deepEqual(decideStart(clock({ isPaused: true })), { do: 'owe', why: 'paused', until: null });
  assert.deepEqual(decideStart(clock({ isPaused: true, late: 'skip' })), { do: 'skip', why: 'paused', until: null });
  assert.deepEqual(decideStart(clock({ isPaused: true, owed, dueAt: noon })), { do: 'wait', until: noon });
  assert.deepEqual(decideStart(clock({ owed, dueAt: noon })), { do: 'start', trigger: 'resume' });
});

test('a run that the parent paused is tried again after a rest, and no sooner', () => {
  const owed = { since: 0, why: 'parent' } as const;
  const dueAt = at('2026-01-11T02:00:00Z');
  assert.deepEqual(decideStart(clock({ owed, dueAt, restUntil: noon })), { do: 'wait', until: noon });
  assert.deepEqual(decideStart(clock({ owed, dueAt, restUntil: noon, now: noon })), { do: 'start', trigger: 'resume' });
});
