import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { type Summary, summaryLines, writtenSummary } from './closing.ts';
import { type CountCommit, countFile, findLoss } from './count.ts';

/**
 * The last step of `.ci/run`: prints the closing counts and holds two rules. As many tests passed as
 * test/count.txt says; and no commit lowered that number unless it says `Tests-removed: why`.
 */
function main(status: number): number {
  if (!existsSync(writtenSummary)) {
    console.error('ci: make test ended before the tests were run; its words are above');
    return status || 1;
  }
  const summary = JSON.parse(readFileSync(writtenSummary, 'utf8')) as Summary;
  const loss = findLoss(countCommits(), summary.counts.passed);
  if (loss) console.error(`ci: ${loss}`);
  for (const line of summaryLines(summary)) console.log(line);
  return status || (loss || !summary.ok ? 1 : 0);
}

/** The commits of this branch that changed the count, newest first; in a shallow clone, those that are there. */
function countCommits(): CountCommit[] {
  const ids = git('log', '--first-parent', '--format=%H', '--', countFile).split('\n').filter(Boolean);
  return ids.map((id) => ({ id, count: Number(git('show', `${id}:${countFile}`)), message: git('show', '-s', '--format=%B', id) }));
}

function git(...args: string[]): string {
  return execFileSync('git', ['-c', 'safe.directory=*', ...args], { encoding: 'utf8' }).trim();
}

process.exitCode = main(Number(process.argv[2] ?? 0));
