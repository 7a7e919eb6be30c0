import { setTimeout as sleep } from 'node:timers/promises';

/** Asks until the answer is there; throws with `what` and the last answer after `timeoutMs`. */
export async function waitUntil<Answer>(
  what: string,
  timeoutMs: number,
  ask: () => Promise<Answer | undefined | false>,
  everyMs = 500,
): Promise<Answer> {
  const end = performance.now() + timeoutMs;
  let lastError: unknown;
  while (performance.now() < end) {
    try {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer;
    } catch (error) {
      lastError = error;
    }
    await sleep(everyMs);
  }
  throw new Error(`waited ${timeoutMs / 1000} s in vain: ${what}`, lastError === undefined ? undefined : { cause: lastError });
}
