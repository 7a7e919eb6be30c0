import cliProgress from 'cli-progress';

export type Progress = { readonly stage: string; readonly percent: number; readonly etaSeconds: number | null };
export type Moment = { readonly atMs: number; readonly who: string; readonly what: string };

/** Who did what when: printed as it happens, kept for the end. A bar on a terminal, plain lines elsewhere. */
export class Timeline {
  readonly moments: Moment[] = [];
  readonly #startMs = performance.now();
  readonly #isTerminal: boolean;
  readonly #write: (line: string) => void;

  constructor(write: (line: string) => void, isTerminal: boolean) {
    this.#write = write;
    this.#isTerminal = isTerminal;
  }

  say(who: string, what: string): void {
    const atMs = performance.now() - this.#startMs;
    this.moments.push({ atMs, who, what });
    this.#write(`${(atMs / 1000).toFixed(1).padStart(7)} s  ${who.padEnd(9)} ${what}`);
  }

  /** Shows progress from `ask` until `work` settles, and gives its result. */
  async during<Result>(who: string, what: string, ask: () => Promise<Progress | undefined>, work: Promise<Result>): Promise<Result> {
    const show = this.#isTerminal ? this.#bar(who, what) : this.#lines(who, what);
    let running = true;
    const settled = work.finally(() => {
      running = false;
    });
    settled.catch(() => undefined); // awaited below; this only keeps an early failure from being "unhandled"
    while (running) {
      const progress = await ask().catch(() => undefined);
      if (progress && running) show.update(progress);
      await Promise.race([settled.then(noop, noop), new Promise((resolve) => setTimeout(resolve, 400))]);
    }
    show.stop();
    return settled;
  }

  #bar(who: string, what: string): { update(progress: Progress): void; stop(): void } {
    const bar = new cliProgress.SingleBar(
      { format: `           ${who.padEnd(9)} ${what} {bar} {percentage} % {note}`, hideCursor: true },
      cliProgress.Presets.shades_classic,
    );
    bar.start(100, 0, { note: '' });
    return {
      update: (progress) => bar.update(Math.floor(progress.percent), { note: note(progress) }),
      stop: () => bar.stop(),
    };
  }

  #lines(who: string, what: string): { update(progress: Progress): void; stop(): void } {
    let shown = -1;
    return {
      update: (progress) => {
        const quarter = Math.floor(progress.percent / 25);
        if (quarter <= shown) return;
        shown = quarter;
        this.say(who, `${what} ${Math.floor(progress.percent)} % ${note(progress)}`);
      },
      stop: noop,
    };
  }
}

function note(progress: Progress): string {
  return `${progress.stage}${progress.etaSeconds === null ? '' : `, ${progress.etaSeconds} s left`}`;
}

function noop(): void {
  // nothing to do
}
