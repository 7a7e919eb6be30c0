/**
 * One sender's side of the scheduler. It asks for some slices ahead of what it sends: on a busy machine the timer that
 * hands them out comes late and hands out several at once, and who had asked for one only would get one, whatever its
 * priority.
 */
export type Lane = {
  /** Waits for its turn; gives how many of so many octets may be sent now, 0 when the lane is closed. One caller at a time. */
  pace(wanted: number): Promise<number>;
  close(): void;
};

export type LaneOptions = {
  readonly sliceBytes: () => number;
  /** Asks for that many; `give` is called when it is their turn. */
  readonly ask: (bytes: number, give: () => void) => void;
  /** Monotonic, ms. */
  readonly now: () => number;
};

const SLICES_AHEAD = 8;
/** What was handed out and not used for so long is gone: silence saves up nothing. */
const STALE_MS = 300;

export function openLane({ sliceBytes, ask, now }: LaneOptions): Lane {
  let allowed = 0;
  let asked = 0;
  let usedAt = now();
  let closed = false;
  let wake: () => void = () => undefined;
  const askAhead = () => {
    const slice = sliceBytes();
    while (!closed && allowed + asked < SLICES_AHEAD * slice) {
      asked += slice;
      ask(slice, () => {
        asked -= slice;
        allowed += slice;
        wake();
      });
    }
  };
  return {
    async pace(wanted) {
      if (now() - usedAt > STALE_MS) allowed = 0;
      askAhead();
      while (allowed === 0 && !closed) await new Promise<void>((resolve) => (wake = resolve));
      usedAt = now();
      const bytes = closed ? 0 : Math.min(wanted, allowed);
      allowed -= bytes;
      return bytes;
    },
    close() {
      closed = true;
      wake();
    },
  };
}
