/**
 * How long to wait before sending again, learnt from the answers (RFC 6298 with shorter bounds): firmware
 * on the same wire answers in under a millisecond, and fixed timers of a second are why other servers need
 * 20 s and more for 256 KiB at 1 % loss.
 */
export type RoundTrip = { readonly smoothedMs: number | null; readonly varianceMs: number; readonly timeoutMs: number };

const FIRST_TIMEOUT_MS = 200;
const FLOOR_MS = 30;
const CEILING_MS = 8_000;
const SHORT_SILENCES = 4;

export const NO_ROUND_TRIP: RoundTrip = { smoothedMs: null, varianceMs: 0, timeoutMs: FIRST_TIMEOUT_MS };

/** One answer to a packet that was sent once (Karn: answers to repeated packets say nothing). */
export function measured(known: RoundTrip, sampleMs: number): RoundTrip {
  const isFirst = known.smoothedMs === null;
  const varianceMs = isFirst ? sampleMs / 2 : 0.75 * known.varianceMs + 0.25 * Math.abs(known.smoothedMs - sampleMs);
  const smoothedMs = isFirst ? sampleMs : 0.875 * known.smoothedMs + 0.125 * sampleMs;
  return { smoothedMs, varianceMs, timeoutMs: bounded(smoothedMs + 4 * varianceMs) };
}

/**
 * No answer: twice as long next time, for what a bad network loses. After that eight times, up to 8 s: atftp answers a
 * repeated block once and then only when nothing at all came for 5 s, so quick repeats would keep it waiting (seen).
 */
export function backedOff(known: RoundTrip, silences: number): RoundTrip {
  return { ...known, timeoutMs: bounded(known.timeoutMs * (silences <= SHORT_SILENCES ? 2 : 8)) };
}

/** Progress after silence: back to what the measurements say. */
export function restored(known: RoundTrip): RoundTrip {
  const timeoutMs = known.smoothedMs === null ? FIRST_TIMEOUT_MS : bounded(known.smoothedMs + 4 * known.varianceMs);
  return { ...known, timeoutMs };
}

function bounded(ms: number): number {
  return Math.min(CEILING_MS, Math.max(FLOOR_MS, ms));
}
