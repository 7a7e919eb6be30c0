/** A cap on a stream: waits until `bytes` more may go out. */
export type Pace = (bytes: number) => Promise<void>;

/**
 * A token bucket of `bytesPerSecond` that holds at most a quarter of a second. `now` is monotonic milliseconds.
 * A take larger than the bucket is allowed and paid back by the next one, so that frames need not be cut.
 */
export function openTokenBucket(
  bytesPerSecond: number,
  now: () => number = () => performance.now(),
  sleep: (ms: number) => Promise<void> = (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
): Pace {
  const capacity = bytesPerSecond / 4;
  let tokens = capacity;
  let filledAt = now();
  return async (bytes) => {
    const at = now();
    tokens = Math.min(capacity, tokens + ((at - filledAt) / 1000) * bytesPerSecond) - bytes;
    filledAt = at;
    if (tokens < 0) await sleep((-tokens / bytesPerSecond) * 1000);
  };
}
