import { setTimeout as sleep } from 'node:timers/promises';
import { AppError } from '../core/errors.ts';

/** How long to wait before the next try of something that failed. */
export type Patience = { pause(attempt: number, signal?: AbortSignal): Promise<void> };

/**
 * Waits that double from `firstMs` to `longestMs`, each with up to a quarter of chance on top, so that a room full
 * of machines does not come back in one moment. Rejects with `cancelled` when the signal aborts.
 */
export function createPatience(firstMs: number, longestMs: number, random: () => number = Math.random): Patience {
  return {
    async pause(attempt, signal) {
      const base = Math.min(longestMs, firstMs * 2 ** Math.min(attempt - 1, 20));
      try {
        await sleep(base * (1 + random() / 4), undefined, signal === undefined ? {} : { signal });
      } catch (cause) {
        throw new AppError('cancelled', 'the work was stopped', { cause });
      }
    },
  };
}
