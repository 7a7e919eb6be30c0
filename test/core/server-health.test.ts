import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type HealthFacts, judgeServer } from '../../core/server-health.ts';
import { roleOf } from '../../core/server-role.ts';

const MINUTE_MS = 60_000;
const NOW = 1_800_000_000_000;
const well: HealthFacts = {
  state: 'active',
  isConnected: true,
  heardAt: NOW,
  beat: null,
  contactError: null,
  alarms: [],
  isUnreadable: false,
  run: { state: 'done', code: null, error: null, endedAt: NOW - MINUTE_MS },
  paused: null,
  images: { wanted: 3, held: 3, failing: 0, firstError: null },
  others: [],
};
const judge = (change: Partial<HealthFacts>) => judgeServer({ ...well, ...change }, NOW);
const levelsOf = (change: Partial<HealthFacts>) => judge(change).findings.map(({ level }) => level);

test('a server that is connected, holds what it wants and ran well is well, and nothing is said', () => {
  assert.deepEqual(judge({}), { level: 'ok', findings: [] });
});

test('a link that breaks for minutes is a warning, for longer a problem, with its beginning', () => {
  const heardAt = NOW - 5 * MINUTE_MS;
  assert.deepEqual(judge({ isConnected: false, heardAt }).findings, [{ level: 'warning', words: 'is not connected', since: heardAt }]);
  assert.equal(judge({ isConnected: false, heardAt: NOW - 16 * MINUTE_MS }).level, 'problem');
  const since = NOW - 20 * MINUTE_MS;
  assert.deepEqual(judge({ isConnected: false, contactError: { words: 'no route', since } }).findings, [
    { level: 'problem', words: 'no route', since },
  ]);
  assert.equal(judge({ isConnected: false, contactError: { words: 'no route', since: NOW } }).level, 'warning');
});

test('a server behind another one is judged by its reports', () => {
  assert.equal(judge({ isConnected: null, heardAt: NOW - 10 * MINUTE_MS }).level, 'ok');
  assert.equal(judge({ isConnected: null, heardAt: NOW - 31 * MINUTE_MS }).level, 'problem');
  assert.equal(judge({ isConnected: null, heardAt: null }).level, 'unknown');
});

test('a server that only the shared database tells of is judged by its heartbeats there, and by nothing while that is away', () => {
  const at = NOW - 5 * MINUTE_MS;
  const beat = { at, ageMs: 5 * MINUTE_MS, isSilent: true, isAway: false };
  const away = { isConnected: null, heardAt: NOW - 31 * MINUTE_MS };
  assert.deepEqual(judge({ ...away, beat: { ...beat, isSilent: false } }).level, 'ok');
  assert.deepEqual(judge({ ...away, beat }).findings, [{ level: 'warning', words: 'is silent in the shared database', since: at }]);
  assert.equal(judge({ ...away, beat: { ...beat, ageMs: 16 * MINUTE_MS } }).level, 'problem');
  assert.equal(judge({ ...away, beat: { ...beat, isAway: true } }).level, 'unknown');
  assert.equal(judge({ ...away, beat: { ...beat, at: null } }).findings[0]?.words, 'has not been heard of yet');
});

test('a run that failed is a problem, one that was stopped on purpose a notice, one that broke off or waits a warning, each with its words', () => {
  const ended = { code: null, error: 'disk full', endedAt: NOW };
  assert.deepEqual(judge({ run: { ...ended, state: 'failed' } }).findings, [
    { level: 'problem', words: 'the last run failed: disk full', since: NOW },
  ]);
  assert.deepEqual(levelsOf({ run: { ...ended, state: 'partial' } }), ['warning']);
  assert.deepEqual(levelsOf({ run: { ...ended, state: 'partial', code: 'window_closed' } }), ['notice']);
  assert.deepEqual(judge({ run: { ...ended, state: 'transfer', endedAt: null } }).findings[0]?.words, 'the run waits: disk full');
});

test('images that are missing are a notice, and none while a run brings them; images with a problem are named', () => {
  const images = { wanted: 3, held: 1, failing: 0, firstError: null };
  assert.deepEqual(judge({ images }).findings[0]?.words, 'holds 1 of the 3 images that it wants');
  assert.deepEqual(levelsOf({ images, run: { state: 'transfer', code: null, error: null, endedAt: null } }), []);
  const failing = judge({ images: { wanted: 3, held: 3, failing: 2, firstError: 'a@1: damaged' } });
  assert.deepEqual([failing.level, failing.findings[0]?.words], ['warning', '2 images have problems: a@1: damaged']);
});

test('the worst comes first and decides; who is revoked, has left, or was replaced is no outage', () => {
  const paused = { by: 'anna', since: NOW, where: 'here' };
  assert.deepEqual(levelsOf({ paused, isConnected: false, heardAt: NOW, alarms: ['b has never synced'] }), [
    'problem',
    'warning',
    'notice',
  ]);
  for (const state of ['revoked', 'retired', 'fenced'] as const) {
    const { level, findings } = judge({ state, alarms: ['x'], isConnected: false });
    assert.deepEqual([level, findings.length, findings[0]?.words.startsWith(`${state}: `)], ['notice', 1, true]);
  }
});

test('roles are computed from the links', () => {
  const roles = [true, false].flatMap((hasParent) => [true, false].map((hasChildren) => roleOf({ hasParent, hasChildren })));
  assert.deepEqual(roles, ['both', 'slave', 'master', 'alone']);
});
