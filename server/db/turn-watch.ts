/** How long one turn may last before it is told of: everything else of this server waits for it. */
const LONG_MS = 5_000;
const MOST_WORDS = 200;

/**
 * A turn at a database that does one thing at a time: a transaction, or a statement alone. `last` is what it asked last, without values.
 * `waitsFor`: after an answer it is the program that does not go on, and so something else than the database.
 */
export type Turn = {
  readonly lastsMs: number;
  readonly statements: number;
  readonly last: string;
  readonly waitsFor: 'the database' | 'the program';
};

/** Follows the statements of one connection, and tells of each turn once, when it lasts for `longMs`. */
export class TurnWatch {
  readonly #tell: (turn: Turn) => void;
  readonly #longMs: number;
  #turn: { readonly since: number; readonly timer: NodeJS.Timeout; statements: number; last: string; isAnswered: boolean } | undefined;
  #isTransaction = false;

  constructor(tell: (turn: Turn) => void, longMs = LONG_MS) {
    this.#tell = tell;
    this.#longMs = longMs;
  }

  /** The turn that is under way. */
  current(): Turn | undefined {
    if (this.#turn === undefined) return undefined;
    const { since, statements, last, isAnswered } = this.#turn;
    const lastsMs = Math.round(performance.now() - since);
    return { lastsMs, statements, last: last.slice(0, MOST_WORDS), waitsFor: isAnswered ? 'the program' : 'the database' };
  }

  asked(sql: string): void {
    this.#turn ??= { since: performance.now(), timer: this.#startTimer(), statements: 0, last: sql, isAnswered: false };
    Object.assign(this.#turn, { last: sql, isAnswered: false, statements: this.#turn.statements + 1 });
    if (/^BEGIN\b/i.test(sql)) this.#isTransaction = true;
    if (/^(COMMIT|ROLLBACK)\b(?! TO\b)/i.test(sql)) this.#isTransaction = false;
  }

  /** Everything that was asked. */
  answered(): void {
    if (this.#turn !== undefined) this.#turn.isAnswered = true;
    if (!this.#isTransaction) this.end();
  }

  /** Also when the connection breaks. */
  end(): void {
    clearTimeout(this.#turn?.timer);
    this.#turn = undefined;
    this.#isTransaction = false;
  }

  #startTimer(): NodeJS.Timeout {
    const tell = () => {
      const turn = this.current();
      if (turn !== undefined) this.#tell(turn);
    };
    return setTimeout(tell, this.#longMs).unref();
  }
}
