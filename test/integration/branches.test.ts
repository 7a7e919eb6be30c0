import assert from 'node:assert/strict';
import { test } from 'node:test';
import { benchBranches } from '../../bench/branches.ts';

test('five branches fetch from one master at once: all publish, its total is kept within a tenth and shared within a tenth', async () => {
  const bench = await benchBranches({ count: 5, bytes: 2_000_000, capBps: 8_000_000 });
  const figures = JSON.stringify(bench);
  assert.equal(bench.published, 5, figures);
  assert.ok(bench.windowSeconds >= 3, figures);
  assert.ok(Math.abs(bench.egressBps - bench.capBps) <= 0.1 * bench.capBps, figures);
  assert.ok(bench.unfairness <= 0.1, figures);
});
