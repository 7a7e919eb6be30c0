import { howMany } from '../helpers/how-many.ts';

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
  /** Shows results, figures and what tests print also when they pass. */
  readonly isLoud?: boolean;
};

/** `make e2e N=5` repeats the runs in the files; so their time is N times as long. */
const REPEATS = howMany({ sample: 1, full: 5 });

export const GROUPS: readonly Group[] = [
  { name: 'e2e', takes: (path) => /^test\/e2e\//.test(path), concurrency: 1, timeoutMs: REPEATS * 1_800_000, isLoud: REPEATS > 1 },
  {
    name: 'pure',
    takes: (path) => /^test\/(core|house)\//.test(path) || /(codec|packet)[^/]*\.test\.ts$/.test(path),
    concurrency: 2,
    timeoutMs: 120_000,
  },
  // One more than cores: these wait for clocks, leases and databases half of their time.
  { name: 'integration', takes: (path) => path.startsWith('test/'), concurrency: 3, timeoutMs: 300_000 },
];

/** What the words on the command line stand for. */
export const SUITES: { readonly [suite: string]: readonly string[] } = {
  check: ['types', 'console types', 'lint', 'pure'],
  all: ['types', 'console types', 'lint', 'pure', 'integration', 'e2e'],
};

/** The group of one test file, by its path from the root of the tree. */
export function groupOf(path: string): Group | undefined {
  return GROUPS.find((group) => group.takes(path));
}
