/**
 * A token bucket. What is taken may lead into debt, which is paid before anybody takes again: so the size of what is
 * taken at once does not change the rate. Times are ms of any clock that does not go back.
 */
export type Bucket = {
  /** Bits per second; null: no limit. What was saved up is forgotten; a debt takes as long to pay as it would have. */
  setRate(bps: number | null, now: number): void;
  /** From when on something may be taken. */
  readyAt(now: number): number;
  take(bytes: number, now: number): void;
};

/** `savedMs`: how much is saved up while nobody takes; also how late a timer may be without loss. */
export function openBucket(bps: number | null, savedMs: number): Bucket {
  let bytesPerMs = rateOf(bps);
  let tokens = 0;
  let filledAt: number | undefined;
  const fill = (now: number) => {
    const elapsed = Math.max(0, now - (filledAt ?? now));
    tokens = bytesPerMs === null ? 0 : Math.min(bytesPerMs * savedMs, tokens + bytesPerMs * elapsed);
    filledAt = Math.max(now, filledAt ?? now);
  };
  return {
    setRate(wanted, now) {
      fill(now);
      const before = bytesPerMs;
      bytesPerMs = rateOf(wanted);
      tokens = before === null || bytesPerMs === null ? 0 : Math.min(0, (tokens * bytesPerMs) / before);
    },
    readyAt(now) {
      fill(now);
      return tokens >= 0 || bytesPerMs === null ? now : now - tokens / bytesPerMs;
    },
    take(bytes, now) {
      fill(now);
      if (bytesPerMs !== null) tokens -= bytes;
    },
  };
}

function rateOf(bps: number | null): number | null {
  return bps === null ? null : bps / 8000;
}
