/**
 * Every failure a user can meet has one of these codes. The command line turns them into exit
 * codes (sysexits), the API into HTTP status (server/api/errors.ts), the agent into retry or fail.
 */
export const EXIT_CODES = {
  failed: 1,
  partial: 1,
  corrupt: 1,
  mismatch: 1,
  cancelled: 1,
  usage: 64,
  bad_data: 65,
  bad_packet: 65,
  name_taken: 65,
  ambiguous: 65,
  does_not_fit: 65,
  wrong_state: 65,
  fenced: 65,
  not_found: 66,
  unreachable: 69,
  not_running: 69,
  busy: 75,
  port_in_use: 75,
  directory_in_use: 75,
  disk_full: 75,
  run_in_progress: 75,
  waiting: 75,
  window_closed: 75,
  version_mismatch: 76,
  denied: 77,
  token_wrong: 77,
  token_expired: 77,
  revoked: 77,
  not_permitted: 77,
  bad_signature: 77,
  expired: 77,
  config: 78,
  unreadable_secret: 78,
  missing_program: 78,
  unknown_data_source: 78,
  disabled: 83,
} as const;

export type ErrorCode = keyof typeof EXIT_CODES;

/** What a replication run can fail of in ways that must be told apart by scripts: above sysexits' range, else as everywhere. */
const RUN_EXIT_CODES: { readonly [Code in ErrorCode]?: number } = { not_permitted: 79, bad_signature: 80, mismatch: 81, expired: 82 };

/** The exit code of a command whose replication run ended with this error. */
export function runExitCode(code: ErrorCode): number {
  return RUN_EXIT_CODES[code] ?? EXIT_CODES[code];
}

/**
 * A failure the operator can act on: a stable code, a message (what we were doing, the value),
 * and a hint (what to do next). The cause is kept for the log, never shown as the message.
 */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'AppError';
    this.code = code;
    this.hint = options.hint;
  }
}

/** The error as others script against it: `{code, message, hint}`. Anything unknown is `failed`. */
export function describeError(error: unknown): { code: ErrorCode; message: string; hint?: string } {
  if (error instanceof AppError) {
    return { code: error.code, message: error.message, ...(error.hint ? { hint: error.hint } : {}) };
  }
  return { code: 'failed', message: error instanceof Error ? error.message : String(error) };
}

/** The error's code if it names one of ours (also for plain objects that crossed a worker or the wire). */
export function errorFromPlain(plain: { code?: string; message: string; hint?: string | undefined }): AppError {
  const code = plain.code !== undefined && plain.code in EXIT_CODES ? (plain.code as ErrorCode) : 'failed';
  return new AppError(code, plain.message, plain.hint ? { hint: plain.hint } : {});
}
