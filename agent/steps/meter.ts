import { type Progress, progressOf } from '../../core/progress.ts';

/** Counts of one deployment, in octets; `zeroed` is of zeros that had to be written. */
export type Counts = { fetched: number; written: number; zeroed: number; kept: number; readBack: number };

/** What a step has done so far; read once a second for the report. */
export type Meter = {
  readonly counts: Counts;
  /** Begins a stage of so many octets; the share of the stage is told from here on. */
  begin(stage: string, totalBytes: number): void;
  advance(bytes: number): void;
  progress(): Progress;
  /** For the timeline: counts, seconds, and bytes per second to the disk while writing. */
  figures(): Record<string, number>;
};

/** `now` is monotonic milliseconds. */
export function createMeter(now: () => number = () => performance.now()): Meter {
  const counts: Counts = { fetched: 0, written: 0, zeroed: 0, kept: 0, readBack: 0 };
  const started = now();
  let stage = { name: 'starting', total: 0, done: 0, since: started };
  let writing = { since: started, until: undefined as number | undefined };
  return {
    counts,
    begin(name, total) {
      const at = now();
      if (stage.name === 'writing') writing = { ...writing, until: at };
      if (name === 'writing') writing = { since: at, until: undefined };
      stage = { name, total, done: 0, since: at };
    },
    advance(bytes) {
      stage.done += bytes;
    },
    progress: () => progressOf(stage.name, Math.min(stage.done, stage.total), stage.total, now() - stage.since),
    figures() {
      const writingSeconds = ((writing.until ?? now()) - writing.since) / 1000;
      const toDisk = counts.written + counts.zeroed;
      return {
        bytesFetched: counts.fetched,
        bytesWritten: counts.written,
        bytesZeroed: counts.zeroed,
        bytesKept: counts.kept,
        bytesReadBack: counts.readBack,
        seconds: Math.round(now() - started) / 1000,
        bytesPerSecond: writingSeconds > 0 ? Math.round(toDisk / writingSeconds) : 0,
      };
    },
  };
}
