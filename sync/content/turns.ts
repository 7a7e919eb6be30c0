/** Work that must not overlap: each begins when the one before has ended, however it ended. */
export type Turns = {
  take<Result>(work: () => Promise<Result>): Promise<Result>;
  /** Whether somebody is at work or waits. */
  isTaken(): boolean;
};

export function createTurns(): Turns {
  let last: Promise<unknown> = Promise.resolve();
  let waiting = 0;
  return {
    isTaken: () => waiting > 0,
    take(work) {
      waiting += 1;
      const mine = last.then(work).finally(() => {
        waiting -= 1;
      });
      // Whoever took the turn is told how it ended; the next one only that it did.
      last = mine.catch(() => undefined);
      return mine;
    },
  };
}
