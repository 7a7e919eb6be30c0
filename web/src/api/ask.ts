/** What the server answered instead of what was asked for, in its words (RFC 9457); `status` 0: it did not answer at all. */
export class Refusal extends Error {
  readonly status: number;
  readonly code: string;
  readonly hint: string | undefined;

  constructor({ status, code, detail, hint }: { status: number; code: string; detail: string; hint?: string | undefined }) {
    super(detail);
    this.name = 'Refusal';
    this.status = status;
    this.code = code;
    this.hint = hint;
  }
}

export type Question = {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly json?: unknown;
  readonly octets?: Blob;
  readonly signal?: AbortSignal;
  /** Who asks goes on asking: whoever reads of a failure need do nothing. */
  readonly isAskedAgain?: boolean;
};

/** Asks the server that the page came from, as whoever is signed in. Throws `Refusal`, and what an aborted signal throws. */
export async function ask<Answer>(path: string, question: Question = {}): Promise<Answer> {
  const response = await send(path, question);
  if (response.status === 204) return undefined as Answer;
  const body: unknown = await response.json().catch(() => undefined); // no JSON: the status alone speaks
  if (response.ok) return body as Answer;
  throw refusalOf(response.status, body);
}

async function send(path: string, { method = 'GET', json, octets, signal, isAskedAgain = false }: Question): Promise<Response> {
  const init: RequestInit = { method, credentials: 'same-origin', cache: 'no-store', redirect: 'error' };
  if (signal !== undefined) init.signal = signal;
  if (json !== undefined) {
    init.body = JSON.stringify(json);
    init.headers = { 'content-type': 'application/json' };
  } else if (octets !== undefined) {
    init.body = octets;
    init.headers = { 'content-type': 'application/octet-stream' };
  }
  try {
    return await fetch(path, init);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refusal({ status: 0, code: 'unreachable', detail: 'The server does not answer.', hint: hintOf(method, isAskedAgain) });
  }
}

function hintOf(method: NonNullable<Question['method']>, isAskedAgain: boolean): string {
  if (isAskedAgain) return 'It is tried again by itself.';
  return method === 'GET' ? 'Try again when it is back.' : 'Look whether it was done before you do it again.';
}

function refusalOf(status: number, body: unknown): Refusal {
  const { code, detail, hint } = (body ?? {}) as { code?: unknown; detail?: unknown; hint?: unknown };
  return new Refusal({
    status,
    code: typeof code === 'string' ? code : 'failed',
    detail: typeof detail === 'string' ? detail : `The server answered with status ${status}.`,
    hint: typeof hint === 'string' ? hint : undefined,
  });
}

/** Any failure as a refusal that can be shown. */
export function asRefusal(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  return new Refusal({ status: 0, code: 'failed', detail: error instanceof Error ? error.message : String(error) });
}
