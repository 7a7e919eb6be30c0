/** One line of `doctor`: what was looked at, how it is, and what to do when it is not well. */
export type Finding = {
  readonly name: string;
  /** `unknown`: it could not be looked at, and the message says why. */
  readonly state: 'ok' | 'warn' | 'fail' | 'unknown';
  readonly message: string;
  readonly hint: string | null;
};

export function ok(name: string, message: string): Finding {
  return { name, state: 'ok', message, hint: null };
}

export function warn(name: string, message: string, hint: string): Finding {
  return { name, state: 'warn', message, hint };
}

export function fail(name: string, message: string, hint: string): Finding {
  return { name, state: 'fail', message, hint };
}

export function unknown(name: string, message: string, hint: string): Finding {
  return { name, state: 'unknown', message, hint };
}

/** A check that threw says so with the error's own words and hint. */
export function failWith(name: string, error: unknown): Finding {
  const { message, hint } = error as { message: string; hint?: string };
  return fail(name, message.split('\n')[0] ?? '', hint ?? 'see the log');
}
