import { SingleBar } from 'cli-progress';
import type { Progress } from '../core/progress.ts';
import type { Output } from './frame.ts';
import { cleanText, formatBytes, formatSeconds } from './output.ts';

export type ProgressBar = {
  /** Bytes done and to do; a `Progress` object as the API shows it fits. */
  update(progress: Pick<Progress, 'doneBytes' | 'totalBytes'> & Partial<Progress>): void;
  /** Leaves the last state on the screen. May be called twice. */
  stop(): void;
};

/** A bar on a terminal; without one (pipes, cron, --json) it does nothing. */
export function createBar(label: string, output: Output | undefined): ProgressBar {
  if (!output?.isTTY) return { update: () => undefined, stop: () => undefined };
  const bar = new SingleBar({
    stream: output,
    format: '{label} [{bar}] {percentage}% {done}/{all}{eta}',
    hideCursor: true,
    clearOnComplete: false,
    fps: 5,
  });
  let isRunning = false;
  return {
    update: ({ stage, doneBytes, totalBytes, etaSeconds }) => {
      const fields = {
        // The stage is an agent's word.
        label: cleanText(stage === undefined || stage === '' ? label : `${label}: ${stage}`),
        done: formatBytes(doneBytes),
        all: formatBytes(totalBytes),
        eta: etaSeconds === null || etaSeconds === undefined ? '' : `, ${formatSeconds(etaSeconds)} left`,
      };
      if (!isRunning) bar.start(Math.max(1, totalBytes), doneBytes, fields);
      isRunning = true;
      bar.setTotal(Math.max(1, totalBytes));
      bar.update(doneBytes, fields);
    },
    stop: () => {
      if (isRunning) bar.stop();
      isRunning = false;
    },
  };
}
