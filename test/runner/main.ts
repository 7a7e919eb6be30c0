import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { closingLines, sumOutcomes, writtenSummary } from './closing.ts';
import { countFile } from './count.ts';
import { GROUPS, groupOf, inOrder, SUITES } from './groups.ts';
import { type Outcome, runGroup } from './run-group.ts';
import { PROGRAMS, runProgram } from './run-program.ts';
import { runSoak, soakFiles, UsageError } from './soak.ts';

// CI stops a run after 90 minutes; stopping it ourselves before that says which group was at work.
const DEADLINE_MS = Number(process.env['TEST_DEADLINE_MINUTES'] ?? 80) * 60_000;

/**
 * No group of its own but those files of the others that repeat something, so that the short run and the long one are the
 * same tests.
 */
const SOAK = 'soak';
const KNOWN = [...Object.keys(PROGRAMS), ...GROUPS.map((group) => group.name), SOAK];

async function main(words: readonly string[]): Promise<number> {
  const stages = words.flatMap((word) => SUITES[word] ?? [[word]]);
  const names = stages.flat();
  const unknown = names.find((name) => !KNOWN.includes(name));
  if (names.length === 0 || unknown !== undefined) return usage(unknown);
  const deadline = new AbortController();
  const timer = names.includes(SOAK) ? undefined : setTimeout(() => deadline.abort(), DEADLINE_MS);
  const started = performance.now();
  const outcomes: Outcome[] = [];
  for (const stage of stages) outcomes.push(...(await runStage(stage, deadline.signal)));
  clearTimeout(timer);
  const summary = sumOutcomes(outcomes, deadline.signal.aborted, performance.now() - started);
  mkdirSync('.cache', { recursive: true });
  writeFileSync(writtenSummary, JSON.stringify({ words, ...summary }));
  if (words.includes('all') && summary.ok) raiseCount(summary.counts.passed);
  for (const line of closingLines(summary)) console.log(line);
  return summary.ok ? 0 : 1;
}

/** Keeps test/count.txt up with the tests; CI compares, it does not write. */
function raiseCount(passed: number): void {
  const before = existsSync(countFile) ? Number(readFileSync(countFile, 'utf8')) : 0;
  if (process.env['CI'] || passed <= before) return;
  writeFileSync(countFile, `${passed}\n`);
  console.log(`\n${countFile}: ${before} -> ${passed}; commit it`);
}

/** Runs what stands beside each other. */
async function runStage(names: readonly string[], deadline: AbortSignal): Promise<Outcome[]> {
  const outcomes = await Promise.all(names.map((name) => (name in PROGRAMS ? runProgram(name, deadline) : runFiles(name, deadline))));
  for (const { name, counts, ms } of outcomes) console.log(`── ${name}: ${counts.passed} passed, ${(ms / 1000).toFixed(1)} s`);
  return outcomes;
}

async function runFiles(name: string, deadline: AbortSignal): Promise<Outcome> {
  const all = globSync('test/**/*.test.ts').sort();
  const group = GROUPS.find((one) => one.name === name);
  const files = group ? inOrder(all.filter((file) => groupOf(file) === group)) : soakFiles(all, process.env['ONLY']);
  console.log(`\n── ${name}: ${files.length} files`);
  return group ? runGroup(group, files, deadline) : runSoak(files, deadline);
}

function usage(unknown: string | undefined): number {
  const known = [...Object.keys(SUITES), ...KNOWN].join(' | ');
  console.error(`test/run: ${unknown === undefined ? 'say what to run' : `"${unknown}" is no group`}: ${known}`);
  return 64;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`test/run: ${error.message}`);
  process.exitCode = 64;
}
