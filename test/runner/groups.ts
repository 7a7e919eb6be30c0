/**
 * The tests by size. A test file belongs to the first group whose pattern takes its path, so every
 * `*.test.ts` under test/ is in exactly one; the house's own tests hold that.
 */
export type Group = {
  readonly name: string;
  readonly takes: (path: string) => boolean;
  /** Test files at a time. */
  readonly concurrency: number;
  /** For one test, and for one file as a whole. */
  readonly timeoutMs: number;
};

export const GROUPS: readonly Group[] = [
  { name: 'soak', takes: (path) => /^test\/soak\//.test(path), concurrency: 1, timeoutMs: 6 * 3_600_000 },
  { name: 'e2e', takes: (path) => /^test\/e2e\//.test(path), concurrency: 1, timeoutMs: 1_800_000 },
  {
    name: 'pure',
    takes: (path) => /^test\/(core|house)\//.test(path) || /(codec|packet)[^/]*\.test\.ts$/.test(path),
    concurrency: 2,
    timeoutMs: 120_000,
  },
  { name: 'integration', takes: (path) => path.startsWith('test/'), concurrency: 2, timeoutMs: 300_000 },
];

/** What the words on the command line stand for. */
export const SUITES: { readonly [suite: string]: readonly string[] } = {
  check: ['types', 'lint', 'pure'],
  all: ['types', 'lint', 'pure', 'integration', 'e2e'],
};

/** The group of one test file, by its path from the root of the tree. */
export function groupOf(path: string): Group | undefined {
  return GROUPS.find((group) => group.takes(path));
}
