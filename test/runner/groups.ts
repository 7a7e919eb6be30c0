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
  /** How much these files stand back for those of other groups, as nice(1) has it. */
  readonly niceness?: number;
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
  { name: 'integration', takes: (path) => path.startsWith('test/'), concurrency: 3, niceness: 5, timeoutMs: 600_000 },
];

const CHECK = [['types', 'console types', 'lint'], ['pure']];

/**
 * What the words on the command line stand for: stages, one after the other, of what runs beside each other. An emulated machine
 * takes one core, and the tests that wait for clocks take what is left.
 */
export const SUITES: { readonly [suite: string]: readonly (readonly string[])[] } = {
  check: CHECK,
  all: [...CHECK, ['e2e', 'integration']],
};

/**
 * The files that take longest where all is slow, longest first: they start first, so that none of them is alone at the end while
 * a core has nothing to do.
 */
export const LONG: readonly string[] = [
  'test/e2e/deploy.test.ts',
  'test/server/backup/restore.test.ts',
  'test/server/shared/distrust.test.ts',
  'test/server/shared/three-nodes.test.ts',
  'test/integration/memory.test.ts',
  'test/web/meeting.test.ts',
  'test/server/api/serve.test.ts',
  'test/web/panel.test.ts',
];

/** The order in which files start. */
export function inOrder(files: readonly string[]): string[] {
  const rank = (path: string) => (LONG.includes(path) ? LONG.indexOf(path) : LONG.length);
  return files.toSorted((one, other) => rank(one) - rank(other) || (one < other ? -1 : 1));
}

/** The group of one test file, by its path from the root of the tree. */
export function groupOf(path: string): Group | undefined {
  return GROUPS.find((group) => group.takes(path));
}
