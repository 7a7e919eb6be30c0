import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { closingLines, sumOutcomes } from '../runner/closing.ts';
import { findLoss } from '../runner/count.ts';
import type { Counts } from '../runner/reporter.ts';
import { type FileOutcome, NO_COUNTS, runFile } from '../runner/run-file.ts';
import { runGroup } from '../runner/run-group.ts';

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

test('a file tells its failures with their words, its skips and its counts, and what it printed when something went wrong', async () => {
  const body = `import test from 'node:test';
test('good', () => console.log('said'));
test('bad', () => { throw new Error('words of the failure'); });
test('left out', { ['sk' + 'ip']: 'because' }, () => {});`;
  const { counts, problems } = await runSample(body);
  assert.deepEqual([counts.passed, counts.failed, counts.skipped], [1, 1, 1]);
  assert.ok(problems.some(({ title, text }) => title.startsWith('failure: bad') && text.includes('words of the failure')));
  assert.ok(problems.some(({ title, text }) => title.startsWith('skip: left out') && text.includes('because')));
  assert.ok(problems.some(({ title, text }) => title.startsWith('output of') && text.includes('said')));
});

test('whatever octets a test prints, right behind a result too, no result is lost', async () => {
  const body = `import test from 'node:test';
test('first', () => process.stdout.write(Buffer.from([0xff, 0x0f, 0x7f, 0xff, 0xff, 0xff])));
test('second', () => process.stdout.write(Buffer.from([0xff, 0x0f, 0x80, 0, 0, 0, 1, 2])));
test('third', () => console.log('2 kills: ℹ é'));`;
  const { counts, problems } = await runSample(body);
  assert.deepEqual([counts.passed, problems], [3, []]);
});

test('a file that something keeps open, and one that breaks off, fail by themselves', async () => {
  const open = await runSample(`import test from 'node:test'; test('good', () => {}); setInterval(() => {}, 1000);`, 1000);
  assert.ok(open.problems.some(({ title }) => /sample.mjs did not end in its time/.test(title)));
  assert.ok(open.counts.failed > 0);
  const broken = await runSample(`import test from 'node:test'; test('good', () => process.kill(process.pid, 'SIGKILL'));`);
  assert.ok(broken.problems.some(({ title }) => /before its summary/.test(title)));
  assert.equal(broken.counts.failed, 1);
});

async function runSample(body: string, timeoutMs = 20_000): Promise<FileOutcome> {
  const directory = await mkdtemp(join(tmpdir(), 'waystation-sample-'));
  const file = join(directory, 'sample.mjs');
  await writeFile(file, body);
  const outcome = await runFile({ timeoutMs }, file, new AbortController().signal);
  await rm(directory, { recursive: true });
  return outcome;
}
