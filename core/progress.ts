/** How far a long piece of work is, as every `--json` status shows it. Bytes count the work itself, not the wire. */
export type Progress = {
  readonly stage: string;
  readonly doneBytes: number;
  readonly totalBytes: number;
  readonly percent: number;
  readonly etaSeconds: number | null;
};

/** A rate over less than this says nothing about the rest (the first bytes of a transfer promised weeks). */
const RATE_AFTER_MS = 1000;

/** Progress from what is done, what there is, and how long it took so far. */
export function progressOf(stage: string, doneBytes: number, totalBytes: number, elapsedMs: number): Progress {
  const percent = totalBytes > 0 ? Math.min(100, Math.floor((doneBytes / totalBytes) * 1000) / 10) : 0;
  const etaSeconds =
    doneBytes > 0 && elapsedMs >= RATE_AFTER_MS ? Math.max(0, Math.round(((totalBytes - doneBytes) * elapsedMs) / doneBytes / 1000)) : null;
  return { stage, doneBytes, totalBytes, percent, etaSeconds };
}
