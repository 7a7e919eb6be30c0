import type { Group } from './groups.ts';
import type { Counts } from './reporter.ts';
import { type FileOutcome, NO_COUNTS, type Problem, runFile } from './run-file.ts';

export type Outcome = {
  readonly name: string;
  readonly counts: Counts;
  readonly problems: readonly Problem[];
  readonly ms: number;
};

export type GroupFiles = { readonly group: Group; readonly files: readonly string[] };

/**
 * Runs groups beside each other, printing a line per finished file. As many files run at a time as the group says that allows
 * most, and of each group as many as it says itself; an earlier group's files go first.
 */
export async function runGroups(groups: readonly GroupFiles[], deadline: AbortSignal): Promise<Outcome[]> {
  const started = performance.now();
  const queues = groups.map((one) => ({ ...one, waiting: [...one.files], running: 0, ended: [] as FileOutcome[], ms: 0 }));
  const next = () => queues.find(({ group, waiting, running }) => waiting.length > 0 && running < group.concurrency);
  const work = async () => {
    for (let queue = next(); queue !== undefined; queue = deadline.aborted ? undefined : next()) {
      const path = queue.waiting.shift() as string;
      queue.running += 1;
      const outcome = await runFile(queue.group, path, deadline);
      queue.running -= 1;
      console.log(lineOf(path, outcome));
      queue.ended.push(outcome);
      queue.ms = performance.now() - started;
    }
  };
  await Promise.all(Array.from({ length: Math.max(...groups.map(({ group }) => group.concurrency)) }, work));
  return queues.map(sumUpGroup);
}

type Ended = GroupFiles & { readonly waiting: readonly string[]; readonly ended: readonly FileOutcome[]; readonly ms: number };

function sumUpGroup({ group, files, waiting, ended, ms }: Ended): Outcome {
  const outcome = sumFiles(group.name, ended, ms);
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
