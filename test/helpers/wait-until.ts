import { setTimeout as sleep } from 'node:timers/promises';

export type WaitOptions = {
  /** How long it may take; default a minute. */
  readonly limitMs?: number | undefined;
  /** Between two looks, ms. */
  readonly everyMs?: number | (() => number) | undefined;
  /** A look that never ends is a wait as well: one that began in time has so long to end. */
  readonly lookMs?: number | undefined;
  /** What `ask` throws means: not yet. Without it the wait fails with it. */
  readonly despiteErrors?: boolean | undefined;
  /** What there is instead, for the words of a wait that failed. */
  readonly state?: (() => unknown) | undefined;
  /** What makes it so, going on beside the wait: when that ends and it is not so, it never will be. */
  readonly during?: Promise<unknown> | undefined;
};

/** For who asks a server that may be starting, busy or away: now and then, and whatever it says of itself is no answer yet. */
export const ASKING_A_SERVER = { everyMs: 500, despiteErrors: true } as const satisfies WaitOptions;

/**
 * Looks again and again until there is an answer (anything but undefined and false), and gives it. No wait of a test is without a limit: it would
 * keep the servers of its file, and so the file, up.
 *
 * Errors: "WHAT was not so after N s" with the state; at once what `during` rejects with, and that it is over. `during` is looked at, not taken: whoever
 * started it awaits it.
 */
export async function waitUntil<Answer>(
  what: string,
  ask: () => Answer | undefined | false | Promise<Answer | undefined | false>,
  { limitMs = 60_000, everyMs = 20, lookMs = 30_000, despiteErrors = false, state, during }: WaitOptions = {},
): Promise<Answer> {
  const endMs = performance.now() + limitMs;
  const work = watch(during);
  for (let failure: unknown; ; await sleep(typeof everyMs === 'number' ? everyMs : everyMs())) {
    // Before the look: what was so at its end is seen, whenever that comes.
    const { isOver, error } = work;
    try {
      const answer = await inTime(ask, endMs + lookMs);
      if (answer !== undefined && answer !== false) return answer;
      failure = undefined;
    } catch (thrown) {
      if (!despiteErrors) throw thrown;
      failure = thrown;
    }
    if (error !== undefined) throw error;
    if (isOver) throw await inVain(`${what} was not so, and never will be: what was to make it so has ended`, state, failure);
    if (performance.now() > endMs) throw await inVain(`${what} was not so after ${limitMs / 1000} s`, state, failure);
  }
}

function watch(during: Promise<unknown> | undefined): { isOver: boolean; error: unknown } {
  const work = { isOver: false, error: undefined as unknown };
  const end = (error?: unknown) => Object.assign(work, { isOver: true, error });
  during?.then(() => end(), end);
  return work;
}

async function inTime<Answer>(ask: () => Answer, untilMs: number): Promise<Awaited<Answer> | undefined> {
  const over = new AbortController();
  try {
    const late = sleep(Math.max(0, untilMs - performance.now()), undefined, { signal: over.signal });
    // Given up below, when the look has ended.
    late.catch(() => undefined);
    return (await Promise.race([ask(), late])) as Awaited<Answer> | undefined;
  } finally {
    over.abort();
  }
}

async function inVain(words: string, state: (() => unknown) | undefined, cause: unknown): Promise<Error> {
  const seen = state === undefined ? '' : `; there is ${JSON.stringify(await state())}`;
  return new Error(`${words}${seen}`, cause === undefined ? undefined : { cause });
}
