import { EventEmitter } from 'node:events';

/**
 * Tells sleepers that something changed, so that long polls and schedulers need no short timers.
 * A wake-up carries no data and may be lost: whoever wakes looks at the database.
 */
export class Wake {
  readonly #emitter = new EventEmitter().setMaxListeners(0);

  notify(topic: string): void {
    this.#emitter.emit(topic);
  }

  /** Resolves at the next `notify(topic)`, after `timeoutMs`, or when `signal` aborts; never rejects. */
  wait(topic: string, timeoutMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#emitter.off(topic, done);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, timeoutMs);
      this.#emitter.on(topic, done);
      signal?.addEventListener('abort', done);
      if (signal?.aborted) done();
    });
  }
}
