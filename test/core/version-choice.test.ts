import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Choice, defaultVersion, nextActivation, opensAt, previousVersion, roleOf, type Version } from '../../core/version-choice.ts';

const version = (createdAt: number, activation: number, waiting = false): Version => ({
  id: `v${createdAt}`,
  createdAt,
  activation,
  waiting,
});
const ids = (found: Version | undefined) => found?.id;

test('without activations the newest version is the default and the one before it the previous', () => {
  const versions = [version(2, 0), version(3, 0), version(1, 0)];
  assert.deepEqual([ids(defaultVersion(versions, undefined)), ids(previousVersion(versions, undefined))], ['v3', 'v2']);
});

test('the highest activation is the default, whatever was made when', () => {
  const versions = [version(1, 4), version(2, 2), version(3, 3)];
  assert.deepEqual([ids(defaultVersion(versions, undefined)), ids(previousVersion(versions, undefined))], ['v1', 'v3']);
});

test('a version that waits is no default and no previous', () => {
  const versions = [version(1, 1), version(2, 0, true)];
  assert.deepEqual([ids(defaultVersion(versions, undefined)), ids(previousVersion(versions, undefined))], ['v1', undefined]);
  assert.equal(roleOf(versions[1] as Version, versions, undefined), 'waiting');
});

test('a pin holds against every activation, and when its version is gone there is no default', () => {
  const pin: Choice = { mode: 'pinned', imageId: 'v1' };
  assert.equal(ids(defaultVersion([version(1, 1), version(2, 2)], pin)), 'v1');
  assert.equal(ids(defaultVersion([version(2, 2)], pin)), undefined);
});

test('a rollback whose version is gone falls back to the highest activation', () => {
  const choice: Choice = { mode: 'rolled-back', imageId: 'v1' };
  assert.equal(ids(defaultVersion([version(1, 1), version(2, 2)], choice)), 'v1');
  assert.equal(ids(defaultVersion([version(2, 2)], choice)), 'v2');
});

test('a version counts on when it is the newest and arrives beside the others when it is late', () => {
  const others = [version(2, 5), version(4, 6), version(9, 0, true)];
  assert.equal(nextActivation(version(5, 0), others), 7);
  assert.equal(nextActivation(version(3, 0), others), 0);
  assert.equal(nextActivation(version(1, 0), []), 1);
});

test('a version opens at its time and when its ring is released, the later of both', () => {
  const rings = [
    { ring: 0, at: 100 },
    { ring: 2, at: 300 },
  ];
  const gates = { rings, activateAt: 200, siteActivateAt: null };
  assert.equal(opensAt(gates, 0), 200);
  assert.equal(opensAt(gates, 1), 300);
  assert.equal(opensAt(gates, 3), null);
  assert.equal(opensAt(gates, null), null, 'a site without a ring is the last');
  assert.equal(opensAt(gates, undefined), 200, 'the origin is in no ring');
  assert.equal(opensAt({ ...gates, rings: [...rings, { ring: null, at: 400 }] }, null), 400);
  assert.equal(opensAt({ ...gates, siteActivateAt: 50 }, 3), 50);
  assert.equal(opensAt({ siteActivateAt: null }, null), 0);
});
