/** A test, or whoever else ends what was begun. */
export type Afterwards = { after(end: () => Promise<void>): void };

type End = () => unknown;

const ENDS = new WeakMap<Afterwards, End[]>();

/**
 * Ends what a test began, the last first, all of it whatever fails. Hooks of node:test run in the order in which they were registered,
 * and none behind one that fails: a server would lose its database first, and what is not closed keeps the file from ending.
 */
export function endInReverse(t: Afterwards, end: End): void {
  const begun = ENDS.get(t) ?? [];
  if (begun.push(end) > 1) return;
  ENDS.set(t, begun);
  t.after(() => endAll(begun));
}

async function endAll(begun: End[]): Promise<void> {
  const failures: unknown[] = [];
  for (const end of begun.splice(0).reverse()) {
    try {
      await end();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}
