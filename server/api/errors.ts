import { randomUUID } from 'node:crypto';
import type { Logger } from 'winston';
import { AppError, type ErrorCode } from '../../core/errors.ts';
import { explainDiskFull } from '../db/disk-full.ts';

/** RFC 9457 with our code and hint; `status` is the HTTP status. */
export type Problem = {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly hint?: string;
};

/** 400 fix your request, 401/403/404, 409 not in this state, 503 try later, 507 disk full, 500 our bug. */
const STATUS: { readonly [Code in ErrorCode]: number } = {
  failed: 500,
  partial: 500,
  corrupt: 500,
  mismatch: 500,
  cancelled: 409,
  usage: 400,
  bad_data: 400,
  bad_packet: 400,
  name_taken: 409,
  ambiguous: 400,
  does_not_fit: 409,
  wrong_state: 409,
  fenced: 409,
  not_found: 404,
  unreachable: 503,
  not_running: 503,
  version_mismatch: 409,
  busy: 503,
  port_in_use: 503,
  directory_in_use: 503,
  disk_full: 507,
  run_in_progress: 409,
  waiting: 503,
  disabled: 409,
  window_closed: 409,
  denied: 403,
  token_wrong: 401,
  token_expired: 401,
  revoked: 403,
  not_permitted: 403,
  bad_signature: 403,
  expired: 401,
  config: 500,
  unreadable_secret: 500,
  missing_program: 500,
  unknown_data_source: 404,
};

const TITLES: { readonly [status: number]: string } = {
  400: 'The request cannot be understood',
  401: 'Not signed in',
  403: 'Not allowed',
  404: 'Not found',
  409: 'Not possible in this state',
  413: 'The request is too large',
  429: 'Too many failed attempts',
  500: 'The server failed',
  503: 'Try again later',
  507: 'The disk is full',
};

/** An error as the API answers it. What is not an AppError is our bug: its text stays in the log, found by a number. */
export function problemOf(thrown: unknown, log: Logger, status?: number): Problem {
  const error = explainDiskFull(thrown);
  const known = error instanceof AppError ? error : fromHttpError(error);
  if (known) return problem(known, status ?? bodyStatus(error) ?? STATUS[known.code]);
  const incident = randomUUID();
  log.error('request failed', { incident, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  return problem(new AppError('failed', `the server failed; its log has the reason under ${incident}`), 500);
}

/** The problem for somebody whom `authorise` refused: 401 asks for proof, 403 says that it is not enough. */
export function refusalProblem(refusal: AppError | undefined, isAnonymous: boolean): Problem {
  if (refusal) return problem(refusal, STATUS[refusal.code]);
  if (isAnonymous) {
    const hint = 'operators: WAYSTATION_TOKEN or --token-file; servers: "waystation server join"';
    return problem(new AppError('denied', 'this needs an operator token or a certificate of this server', { hint }), 401);
  }
  return problem(new AppError('not_permitted', 'your role does not allow this', { hint: 'ask an administrator of this server' }), 403);
}

export function problem(error: AppError, status: number): Problem {
  return {
    type: `urn:waystation:error:${error.code}`,
    title: TITLES[status] ?? 'Error',
    status,
    code: error.code,
    detail: error.message,
    ...(error.hint ? { hint: error.hint } : {}),
  };
}

/** Errors that express and its body parser make carry a status of 4xx and words that may be shown. */
function fromHttpError(error: unknown): AppError | undefined {
  const status = bodyStatus(error);
  if (status === undefined) return undefined;
  const hint = status === 413 ? 'a request body has at most 1 MiB' : 'send JSON with content-type application/json';
  return new AppError('usage', status === 413 ? 'the request body is too large' : 'the request cannot be parsed', { hint, cause: error });
}

function bodyStatus(error: unknown): number | undefined {
  const status = (error as { status?: unknown } | null)?.status;
  return error instanceof Error && typeof status === 'number' && status >= 400 && status < 500 ? status : undefined;
}
