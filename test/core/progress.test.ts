import assert from 'node:assert/strict';
import { test } from 'node:test';
import { progressOf } from '../../core/progress.ts';

test('progress tells percent with one decimal and never more than 100', () => {
  assert.equal(progressOf('transfer', 1, 3, 5000).percent, 33.3);
  assert.equal(progressOf('transfer', 4, 3, 5000).percent, 100);
  assert.equal(progressOf('transfer', 0, 0, 5000).percent, 0);
});

test('the time that is left follows the rate so far', () => {
  assert.equal(progressOf('transfer', 25, 100, 10_000).etaSeconds, 30);
});

test('the first second and a transfer that has not begun promise nothing', () => {
  assert.equal(progressOf('transfer', 1, 1_000_000, 900).etaSeconds, null);
  assert.equal(progressOf('transfer', 0, 1_000_000, 60_000).etaSeconds, null);
});
