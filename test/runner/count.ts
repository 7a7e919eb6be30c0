/** How many tests a whole run had when this was committed; one number. `make test` raises it, nothing lowers it. */
export const countFile = 'test/count.txt';

export type CountCommit = { readonly id: string; readonly count: number; readonly message: string };

/**
 * Says in words where tests were lost, or undefined. `commits` changed the count, newest first. A lower
 * number is allowed by a line `Tests-removed: why` in the same commit, or in a later one that changes the number.
 */
export function findLoss(commits: readonly CountCommit[], passed: number): string | undefined {
  const newest = commits[0];
  if (!newest) return `${countFile} is not committed`;
  if (!(passed >= newest.count)) return `${passed} tests passed, ${countFile} says ${newest.count}`;
  for (const [index, commit] of commits.entries()) {
    if (/^Tests-removed: \S/m.test(commit.message)) return undefined;
    const before = commits[index + 1];
    if (before && commit.count < before.count) {
      return `commit ${commit.id.slice(0, 12)} lowers the tests from ${before.count} to ${commit.count} without a line "Tests-removed: why"`;
    }
  }
  return undefined;
}
