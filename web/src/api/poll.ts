import { useCallback, useEffect, useRef, useState } from 'react';
import { ask, asRefusal, type Refusal } from './ask.ts';

export type Polled<Answer> = {
  readonly answer: Answer | undefined;
  /** Why the newest question had no answer; what is in `answer` is older then. */
  readonly failure: Refusal | undefined;
  /** Asks now instead of later. */
  readonly refresh: () => void;
};

/**
 * Asks again and again while the page is looked at: the next question comes `everyMs` after an answer, and at once when the page is
 * looked at again. An answer that says the same as the one before is that one, so that nothing is drawn anew.
 */
export function usePoll<Answer>(path: string, everyMs: number, onSignedOut: (words?: string) => void): Polled<Answer> {
  const [state, setState] = useState<{ path: string; answer: Answer | undefined; failure: Refusal | undefined }>({
    path,
    answer: undefined,
    failure: undefined,
  });
  const now = useRef<() => void>(() => undefined);
  useEffect(() => {
    const gone = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isAsking = false;
    const once = async () => {
      clearTimeout(timer);
      if (isAsking || document.visibilityState === 'hidden') return;
      isAsking = true;
      try {
        const answer = await ask<Answer>(path, { signal: gone.signal, isAskedAgain: true });
        setState((last) => ({ path, answer: last.path === path ? keepSame(last.answer, answer) : answer, failure: undefined }));
      } catch (error) {
        if (gone.signal.aborted) return;
        const failure = asRefusal(error);
        if (failure.status === 401) return onSignedOut(`You are signed out: ${failure.message}.`);
        setState((last) => ({ path, answer: last.path === path ? last.answer : undefined, failure }));
      } finally {
        isAsking = false;
      }
      timer = setTimeout(once, everyMs);
    };
    now.current = once;
    document.addEventListener('visibilitychange', once);
    void once();
    return () => {
      gone.abort();
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', once);
    };
  }, [path, everyMs, onSignedOut]);
  const refresh = useCallback(() => now.current(), []);
  const isOther = state.path !== path;
  return { answer: isOther ? undefined : state.answer, failure: isOther ? undefined : state.failure, refresh };
}

/** The parts of the old answer that say the same as the new one, members and items down. */
function keepSame<Value>(old: Value | undefined, fresh: Value): Value {
  if (old === undefined || typeof fresh !== 'object' || fresh === null || typeof old !== 'object' || old === null) return fresh;
  if (JSON.stringify(old) === JSON.stringify(fresh)) return old;
  if (Array.isArray(fresh)) {
    if (!Array.isArray(old)) return fresh;
    return fresh.map((item, index) => keepSame(old[index], item)) as Value;
  }
  const members = Object.entries(fresh).map(([key, value]) => [key, keepSame((old as Record<string, unknown>)[key], value)]);
  return Object.fromEntries(members) as Value;
}
