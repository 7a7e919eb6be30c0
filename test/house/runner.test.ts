import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { closingLines, sumOutcomes } from '../runner/closing.ts';
import { findLoss } from '../runner/count.ts';
import type { Counts, Line } from '../runner/reporter.ts';
import { NO_COUNTS, runGroup } from '../runner/run-group.ts';

const counts = (some: Partial<Counts>): Counts => ({ ...NO_COUNTS, ...some });
const outcome = (some: Partial<Counts>) => ({ name: 'pure', counts: counts(some), problems: [], ms: 5 });
const commit = (count: number, message = 'house: change tests') => ({ id: 'c'.repeat(40), count, message });

test('a run with passes alone is good, and ends with one plain line', () => {
  const summary = sumOutcomes([outcome({ tests: 2, passed: 2 }), outcome({ tests: 1, passed: 1 })], false);
  assert.equal(summary.ok, true);
  assert.equal(closingLines(summary).at(-1), '3 passed, 0 failed, 0 skipped');
});

test('skipped, todo and cancelled tests, a deadline, and no test at all fail a run', () => {
  for (const bad of [{ skipped: 1 }, { todo: 1 }, { cancelled: 1 }, { failed: 1 }]) {
    assert.equal(sumOutcomes([outcome({ tests: 2, passed: 1, ...bad })], false).ok, false, JSON.stringify(bad));
  }
  assert.equal(sumOutcomes([outcome({ tests: 1, passed: 1 })], true).ok, false);
  assert.equal(sumOutcomes([], false).ok, false);
});

test('a group without files fails', async () => {
  const group = { name: 'empty', takes: () => false, concurrency: 1, timeoutMs: 1000 };
  const result = await runGroup(group, [], new AbortController().signal);
  assert.equal(result.counts.failed, 1);
  assert.match(result.problems[0]?.title ?? '', /no test file/);
});

test('fewer tests than committed, or a lowered count without a reason, is a loss', () => {
  assert.equal(findLoss([commit(10)], 10), undefined);
  assert.match(findLoss([commit(10)], 9) ?? '', /9 tests passed/);
  assert.match(findLoss([], 9) ?? '', /not committed/);
  assert.match(findLoss([commit(8), commit(10)], 8) ?? '', /from 10 to 8/);
  assert.match(findLoss([commit(12), commit(8), commit(10)], 12) ?? '', /from 10 to 8/);
  assert.equal(findLoss([commit(8, 'x: y\n\nTests-removed: the old door is gone'), commit(10)], 8), undefined);
  assert.match(findLoss([commit(8, 'x: y\n\nTests-removed:'), commit(10)], 8) ?? '', /from 10 to 8/);
  assert.match(findLoss([commit(Number.NaN)], 8) ?? '', /says NaN/);
});

test('the reporter tells failures with their words, skips, outputs and counts', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'waystation-reporter-'));
  const file = join(directory, 'sample.mjs');
  const body = `import test from 'node:test';
test('good', () => console.log('said'));
test('bad', () => { throw new Error('words of the failure'); });
test('left out', { ['sk' + 'ip']: 'because' }, () => {});`;
  await writeFile(file, body);
  const reporter = join(process.cwd(), 'test/runner/reporter.ts');
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const output = await new Promise<string>((resolve) =>
    execFile(process.execPath, ['--test', `--test-reporter=${reporter}`, file], { env }, (_error, stdout) => resolve(stdout)),
  );
  const lines = output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
  const total = lines.find((line) => line.kind === 'total');
  assert.deepEqual([total?.counts.passed, total?.counts.failed, total?.counts.skipped], [1, 1, 1]);
  assert.ok(lines.some((line) => line.kind === 'failure' && line.text.includes('words of the failure')));
  assert.ok(lines.some((line) => line.kind === 'skip' && line.name === 'left out'));
  assert.ok(lines.some((line) => line.kind === 'output' && line.text.includes('said')));
  await rm(directory, { recursive: true });
});
