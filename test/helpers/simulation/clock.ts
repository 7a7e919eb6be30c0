/** Time that passes only when everybody waits: the next one to wake up is woken, whatever the hour. */
export type Clock = {
  now(): number;
  /** Resolves at a time; never, when `isDead` says so by then: a killed process does not wake up. */
  sleep(ms: number, isDead?: () => boolean): Promise<void>;
  /** Lets time pass until `end`; `afterEach` looks at the world after every step. */
  run(end: number, afterEach: () => void): Promise<void>;
};

export function openClock(start: number): Clock {
  let now = start;
  let count = 0;
  const waiting: { at: number; order: number; wake: () => void }[] = [];
  return {
    now: () => now,
    sleep: (ms, isDead = () => false) =>
      new Promise((resolve) => {
        waiting.push({ at: now + Math.max(0, ms), order: count++, wake: () => (isDead() ? undefined : resolve()) });
      }),
    async run(end, afterEach) {
      for (;;) {
        // Everything that can be done at this moment is done before time goes on.
        await new Promise((resolve) => setImmediate(resolve));
        afterEach();
        waiting.sort((a, b) => a.at - b.at || a.order - b.order);
        const next = waiting.shift();
        if (next === undefined || next.at > end) return;
        now = next.at;
        next.wake();
      }
    },
  };
}
