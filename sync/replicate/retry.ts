import { AppError } from '../../core/errors.ts';
import type { RunTools } from './ports.ts';

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;

/**
 * Tries again while the parent is unreachable, with doubling waits of 0.5 to 15 s, `tools.patience` times in all.
 * Anything else that goes wrong (refused, wrong signature, …) is not made better by trying.
 */
export async function retryUnreachable<Value>(tools: RunTools, attempt: () => Promise<Value>): Promise<Value> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await attempt();
    } catch (error) {
      const mayHeal = error instanceof AppError && error.code === 'unreachable';
      if (!mayHeal || tries >= tools.patience) throw error;
      await tools.sleep(waitMs(tries));
      tools.signal.throwIfAborted();
    }
  }
}

/** How long to wait after the n-th failure (n from 1). */
export function waitMs(failures: number): number {
  return Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (failures - 1));
}
