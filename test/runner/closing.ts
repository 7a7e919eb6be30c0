import type { Counts } from './reporter.ts';
import { type Outcome, sumCounts } from './run-group.ts';
import type { Problem } from './sum-up.ts';

export type Summary = {
  readonly ok: boolean;
  readonly counts: Counts;
  readonly ms: number;
  readonly groups: readonly { readonly name: string; readonly tests: number; readonly ms: number }[];
  readonly problems: readonly Problem[];
};

/** Where the last run's summary is kept for `.ci/run`. */
export const writtenSummary = '.cache/test-summary.json';

const PROBLEM_LINES = 60;
const SHOWN_PROBLEMS = 40;

/** All groups as one, which took `ms`. Skipped and todo tests are failures: a test that did not run proves nothing. */
export function sumOutcomes(outcomes: readonly Outcome[], timedOut: boolean, ms: number): Summary {
  const counts = sumCounts(outcomes.map((outcome) => outcome.counts));
  const problems = outcomes.flatMap((outcome) => outcome.problems);
  const clean = counts.failed + counts.cancelled + counts.skipped + counts.todo === 0;
  return {
    ok: clean && problems.length === 0 && !timedOut && counts.passed > 0,
    counts,
    ms,
    groups: outcomes.map(({ name, counts: one, ms: took }) => ({ name, tests: one.tests, ms: took })),
    problems: timedOut ? [...problems, { title: 'the overall deadline was reached', text: '' }] : problems,
  };
}

/** What stands at the very end of a run: what went wrong, time per group, node's closing lines, one plain line. */
export function closingLines(summary: Summary): string[] {
  return [...problemLines(summary.problems), '', ...summaryLines(summary)];
}

/** The figures alone. */
export function summaryLines(summary: Summary): string[] {
  const { counts } = summary;
  return [
    ...summary.groups.map(
      ({ name, tests, ms }) => `── ${name.padEnd(12)} ${String(tests).padStart(5)} tests ${(ms / 1000).toFixed(1).padStart(8)} s`,
    ),
    ...(['tests', 'suites'] as const).map((key) => `ℹ ${key} ${counts[key]}`),
    `ℹ pass ${counts.passed}`,
    `ℹ fail ${counts.failed}`,
    ...(['cancelled', 'skipped', 'todo'] as const).map((key) => `ℹ ${key} ${counts[key]}`),
    `ℹ duration_ms ${Math.round(summary.ms)}`,
    `${counts.passed} passed, ${counts.failed + counts.cancelled} failed, ${counts.skipped + counts.todo} skipped`,
  ];
}

function problemLines(problems: readonly Problem[]): string[] {
  const lines = problems.slice(0, SHOWN_PROBLEMS).flatMap(({ title, text }) => ['', `✖ ${title}`, ...shortened(text)]);
  const more = problems.length - SHOWN_PROBLEMS;
  return more > 0 ? [...lines, '', `✖ ${more} problems more`] : lines;
}

function shortened(text: string): string[] {
  if (text === '') return [];
  const lines = text.trimEnd().split('\n');
  const shown = lines.slice(0, PROBLEM_LINES).map((line) => `    ${line}`);
  return lines.length > PROBLEM_LINES ? [...shown, `    … ${lines.length - PROBLEM_LINES} lines more`] : shown;
}
