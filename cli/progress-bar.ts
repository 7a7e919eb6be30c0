import { SingleBar } from 'cli-progress';
import type { Progress } from '../core/progress.ts';
import type { Output } from './frame.ts';
import { cleanText, formatBytes, formatSeconds } from './output.ts';

export type ProgressBar = {
  /** Bytes done and to do; a `Progress` object as the API shows it fits. */
  update(progress: Pick<Progress, 'doneBytes' | 'totalBytes'> & Partial<Progress>): void;
  /** The work is done: shows all of it. Nothing when no bar was shown. */
  finish(): void;
  /** Leaves the last state on the screen. May be called twice. */
  stop(): void;
};

/** A bar on a terminal; without one (pipes, cron, --json) it does nothing. */
export function createBar(label: string, output: Output | undefined): ProgressBar {
  if (!output?.isTTY) return { update: () => undefined, finish: () => undefined, stop: () => undefined };
  const bar = new SingleBar({
    stream: output,
    // Not `eta`: that name is the library's, whose guess would be shown in the place of ours.
    format: '{label} [{bar}] {percentage}% {done}/{all}{left}',
    hideCursor: true,
    clearOnComplete: false,
    fps: 5,
  });
  let isRunning = false;
  let all = 0;
  return {
    update: ({ stage, doneBytes, totalBytes, etaSeconds }) => {
      const fields = {
        // The stage is an agent's word.
        label: cleanText(stage === undefined || stage === '' ? label : `${label}: ${stage}`),
        done: formatBytes(doneBytes),
        all: formatBytes(totalBytes),
        left: etaSeconds === null || etaSeconds === undefined ? '' : `, ${formatSeconds(etaSeconds)} left`,
      };
      if (!isRunning) bar.start(Math.max(1, totalBytes), doneBytes, fields);
      isRunning = true;
      all = totalBytes;
      bar.setTotal(Math.max(1, totalBytes));
      bar.update(doneBytes, fields);
    },
    finish: () => {
      if (isRunning) bar.update(Math.max(1, all), { done: formatBytes(all), left: '' });
    },
    stop: () => {
      if (isRunning) bar.stop();
      isRunning = false;
    },
  };
}
