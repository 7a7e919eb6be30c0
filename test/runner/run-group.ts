import type { Group } from './groups.ts';
import type { Counts } from './reporter.ts';
import { type FileOutcome, runFile } from './run-file.ts';
import { NO_COUNTS, type Problem } from './sum-up.ts';

export type Outcome = {
  readonly name: string;
  readonly counts: Counts;
  readonly problems: readonly Problem[];
  readonly ms: number;
};

/** Runs the files of one group, as many at a time as it says, printing a line per finished file, and what went wrong in it as soon as that is known; all its words stand at the end. */
export async function runGroup(group: Group, files: readonly string[], deadline: AbortSignal): Promise<Outcome> {
  const started = performance.now();
  const waiting = [...files];
  const ended: FileOutcome[] = [];
  const work = async () => {
    for (let path = waiting.shift(); path !== undefined; path = deadline.aborted ? undefined : waiting.shift()) {
      const outcome = await runFile(group, path, deadline);
      console.log(
        [lineOf(path, outcome), ...outcome.problems.map(({ title, text }) => `    ${title}: ${text.split('\n', 1)[0]}`)].join('\n'),
      );
      ended.push(outcome);
    }
  };
  await Promise.all(Array.from({ length: group.concurrency }, work));
  const outcome = sumFiles(group.name, ended, performance.now() - started);
  const problems = [...outcome.problems];
  if (files.length === 0) problems.push({ title: `${group.name}: no test file matches this group`, text: '' });
  if (waiting.length > 0) problems.push({ title: `${group.name}: ${waiting.length} files were not run`, text: waiting.join('\n') });
  const counts = files.length === 0 ? { ...outcome.counts, tests: 1, failed: 1 } : outcome.counts;
  return { ...outcome, counts, problems };
}

/** What all files of a group gave together, in `ms`. */
export function sumFiles(name: string, ended: readonly FileOutcome[], ms: number): Outcome {
  const counts = sumCounts(ended.map((outcome) => outcome.counts));
  return { name, counts, problems: ended.flatMap((outcome) => outcome.problems), ms };
}

/** All counts, each by its name. */
export function sumCounts(all: readonly Counts[]): Counts {
  const keys = Object.keys(NO_COUNTS) as (keyof Counts)[];
  return all.reduce((sum, one) => Object.fromEntries(keys.map((key) => [key, sum[key] + one[key]])) as Counts, NO_COUNTS);
}

/** One finished file in a line. */
export function lineOf(path: string, { counts, problems, ms }: FileOutcome): string {
  const failed = counts.failed + counts.cancelled;
  const words = problems.length > 0 ? `, ${failed} FAILED` : '';
  return `${problems.length > 0 ? '✖' : '✔'} ${path}  ${counts.passed} passed${words}  ${(ms / 1000).toFixed(1)} s`;
}
