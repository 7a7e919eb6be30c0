import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRunEnded, nextRunState, RUN_STATES, type RunEvent, type RunState } from '../../core/run.ts';

const EVENTS: readonly RunEvent[] = [
  ...(['reached', 'listed', 'nothing-new', 'lacking', 'complete', 'planned'] as const),
  ...(['landed', 'verified', 'published', 'evicted', 'give-up', 'stop', 'fail'] as const),
  ...(['healed', 'turned', 'turned-in-vain', 'parent-away'] as const),
];

const movesFrom = (state: RunState) => EVENTS.map((event) => nextRunState(state, event)).filter((next) => next !== undefined);

test('every working state can fail and every end is final', () => {
  for (const state of RUN_STATES) {
    if (isRunEnded(state)) assert.deepEqual(movesFrom(state), [], state);
    else assert.equal(nextRunState(state, 'fail'), 'failed', state);
  }
});

test('every state is reached from the first one', () => {
  const seen = new Set<RunState>(['waiting-parent']);
  for (const state of seen) for (const next of movesFrom(state)) seen.add(next);
  assert.deepEqual([...seen].sort(), [...RUN_STATES].sort());
});

test('nothing is published that was not verified: publish is entered from diff with nothing lacking, and from verify', () => {
  const before = RUN_STATES.filter((state) => movesFrom(state).includes('publish'));
  assert.deepEqual(before, ['diff', 'verify']);
  assert.equal(nextRunState('diff', 'complete'), 'publish');
  assert.equal(nextRunState('verify', 'verified'), 'publish');
});
