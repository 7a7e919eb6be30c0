import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { getPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { howMany } from '../helpers/how-many.ts';
import { closingLines, sumOutcomes } from '../runner/closing.ts';
import { findLoss } from '../runner/count.ts';
import { GROUPS, SUITES } from '../runner/groups.ts';
import type { Counts, Line } from '../runner/reporter.ts';
import { type FileOutcome, runFile } from '../runner/run-file.ts';
import { runGroup } from '../runner/run-group.ts';
import { PROGRAMS } from '../runner/run-program.ts';
import { countsOf, runSoak, soakFiles, soakName } from '../runner/soak.ts';
import { NO_COUNTS, sumUp } from '../runner/sum-up.ts';
import { readTexts } from './source-files.ts';

const counts = (some: Partial<Counts>): Counts => ({ ...NO_COUNTS, ...some });
const outcome = (some: Partial<Counts>) => ({ name: 'pure', counts: counts(some), problems: [], ms: 5 });
const commit = (count: number, message = 'house: change tests') => ({ id: 'c'.repeat(40), count, message });

test('a run with passes alone is good, and ends with one plain line', () => {
  const summary = sumOutcomes([outcome({ tests: 2, passed: 2 }), outcome({ tests: 1, passed: 1 })], false, 7);
  assert.equal(summary.ok, true);
  assert.equal(closingLines(summary).at(-1), '3 passed, 0 failed, 0 skipped');
});

test('skipped, todo and cancelled tests, a deadline, and no test at all fail a run', () => {
  for (const bad of [{ skipped: 1 }, { todo: 1 }, { cancelled: 1 }, { failed: 1 }]) {
    assert.equal(sumOutcomes([outcome({ tests: 2, passed: 1, ...bad })], false, 7).ok, false, JSON.stringify(bad));
  }
  assert.equal(sumOutcomes([outcome({ tests: 1, passed: 1 })], true, 7).ok, false);
  assert.equal(sumOutcomes([], false, 7).ok, false);
});

test('a group without files fails', async () => {
  const group = { name: 'empty', takes: () => false, concurrency: 1, timeoutMs: 1000 };
  const result = await runGroup(group, [], new AbortController().signal);
  assert.equal(result.counts.failed, 1);
  assert.match(result.problems[0]?.title ?? '', /no test file/);
});

test('everything that CI runs is each program and each group, once', () => {
  const all = [...Object.keys(PROGRAMS), ...GROUPS.map(({ name }) => name)];
  assert.deepEqual(SUITES['all']?.flat().sort(), all.sort());
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

test('a file of a group that stands back, does so', async () => {
  const body = `import test from 'node:test'; import { getPriority } from 'node:os';
test('good', () => { if (getPriority() !== ${Math.min(19, getPriority() + 3)}) throw new Error(String(getPriority())); });`;
  const { counts } = await runSample(body, 20_000, 3);
  assert.equal(counts.passed, 1);
});

test('a file that something keeps open, and one that breaks off, fail by themselves', async () => {
  const open = await runSample(`import test from 'node:test'; test('good', () => {}); setInterval(() => {}, 1000);`, 1000);
  assert.ok(open.problems.some(({ title }) => /sample.mjs did not end in its time/.test(title)));
  assert.ok(open.counts.failed > 0);
  const broken = await runSample(`import test from 'node:test'; test('good', () => process.kill(process.pid, 'SIGKILL'));`);
  assert.ok(broken.problems.some(({ title }) => /before its summary/.test(title)));
  assert.equal(broken.counts.failed, 1);
});

test('a file that does not end says what was at work, and what it holds open', async () => {
  const waiting = `import { after, test } from 'node:test'; import { spawn } from 'node:child_process'; import { createServer } from 'node:net';
test('good', () => {
  spawn('sleep', ['8']);
  createServer().listen(0, '127.0.0.1');
});
after(() => new Promise(() => setInterval(() => {}, 100_000)));`;
  const { problems } = await runSample(waiting, 2_000);
  const late = problems.find(({ title }) => /did not end in its time/.test(title))?.text ?? '';
  assert.match(late, /^1 tests had ended; at work: none of them, so a hook, or what they left open$/m);
  assert.match(late, /^process \d+: sleep 8$/m);
  assert.match(late, /^tcp \d+ 127\.0\.0\.1:\d+ to nobody$/m);
  assert.match(late, /^timer in \d+ ms$/m);
  const begun = ['first', 'second'].map((name) => ({ kind: 'begun', name, where: 'a.test.ts:7' }) as const);
  const { problems: named } = sumUp('a.test.ts', [...begun, { ...begun[0], kind: 'ended' } as Line], { code: null, output: '', open: '' });
  assert.match(named[0]?.text ?? '', /^1 tests had ended; at work: a\.test\.ts:7 second$/m);
});

test('a test repeats its sample, its full count in make soak, and what N says before both', () => {
  const count = { sample: 3, full: 200 };
  assert.equal(howMany(count, {}), 3);
  assert.equal(howMany(count, { N: '', SOAK: '1' }), 200);
  assert.equal(howMany(count, { N: '7', SOAK: '1' }), 7);
  for (const N of ['0', 'many']) assert.throws(() => howMany(count, { N }), /not "(0|many)"/);
});

test('every test that repeats itself says so in one line, is called like no other, and has its log in docs/evidence', async () => {
  const files = readTexts().filter(({ path }) => path.startsWith('test/') && path.endsWith('.test.ts'));
  const repeated = files.filter(({ text }) => /\bhowMany\(/.test(text) && !text.includes('runner/soak.ts'));
  assert.ok(repeated.length > 10);
  for (const { path, text } of repeated) assert.equal(countsOf(text).length, text.split('howMany(').length - 1, path);
  for (const { path, text } of files) assert.doesNotMatch(text, /process\.env(\['N'\]|\.N\b)/, `${path} reads N without howMany`);
  const names = repeated.map(({ path }) => soakName(path));
  assert.equal(new Set(names).size, names.length, names.join(' '));
  const evidence = await readFile('docs/evidence/README.md', 'utf8');
  assert.deepEqual(
    names.filter((name) => !evidence.includes(`\`${name}.log\``)),
    [],
  );
  const paths = repeated.map(({ path }) => path);
  assert.deepEqual(soakFiles(paths), paths);
  assert.deepEqual(soakFiles(paths, 'kills, galera').map(soakName), ['galera', 'kills']);
  assert.throws(() => soakFiles(paths, 'kill'), /"kill" is none of .* kills /);
});

test('make soak of a name that no test has is a usage error of one line', () => {
  const { status, stderr } = spawnSync('test/run', ['soak'], { env: { ...process.env, ONLY: 'nothing' }, encoding: 'utf8' });
  assert.equal(status, 64);
  assert.match(stderr, /^test\/run: ONLY: "nothing" is none of [^\n]* kills [^\n]*\n$/);
});

test('make soak goes on after a file that failed, and each file has a log that says how often, of what and with which figures', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'waystation-sample-'));
  const body = (name: string, end: string) => `import test from 'node:test';
const howMany = ({ full }) => (process.env.SOAK ? full : 0);
const KILLS = howMany({ sample: 1, full: 20 });
test('${name}', (t) => { t.diagnostic('seed 7, ' + KILLS + ' kills'); ${end} });`;
  const paths = ['bad', 'good'].map((name) => join(directory, `${name}.test.mjs`));
  await writeFile(paths[0] as string, body('bad', 'throw new Error("lost one");'));
  await writeFile(paths[1] as string, body('good', ''));
  const { counts, problems } = await runSoak(paths, new AbortController().signal, join(directory, 'logs'));
  assert.deepEqual([counts.passed, counts.failed], [1, 1]);
  assert.match(problems[0]?.text ?? '', /lost one/);
  const [bad, good] = await Promise.all(['bad', 'good'].map((name) => readFile(join(directory, 'logs', `${name}.log`), 'utf8')));
  assert.match(bad ?? '', /seed 7, 20 kills[\s\S]*lost one[\s\S]*n = 20: ✖ .*1 FAILED/);
  assert.match(
    good ?? '',
    /^.*good.test.mjs, n = 20, commit \w+.*\nbegun 20[\s\S]*✔ good[\s\S]*seed 7, 20 kills[\s\S]*n = 20: ✔ .*1 passed/,
  );
  await rm(directory, { recursive: true });
});

async function runSample(body: string, timeoutMs = 20_000, niceness = 0): Promise<FileOutcome> {
  const directory = await mkdtemp(join(tmpdir(), 'waystation-sample-'));
  const file = join(directory, 'sample.mjs');
  await writeFile(file, body);
  const outcome = await runFile({ timeoutMs, niceness }, file, new AbortController().signal);
  await rm(directory, { recursive: true });
  return outcome;
}
