/**
 * Does `work` again and again, `everyMs` after each start, never twice at a time; what it throws goes to `onError` and
 * ends nothing. Returns how to stop: it resolves when the work under way has ended.
 */
export function repeatEvery(everyMs: number, work: () => Promise<void>, onError: (error: unknown) => void): () => Promise<void> {
  let running: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    running = running.then(work).catch(onError);
  }, everyMs);
  timer.unref();
  return () => {
    clearInterval(timer);
    return running;
  };
}
