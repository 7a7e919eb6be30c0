import type { ClientRequest, IncomingMessage } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import type { Duplex } from 'node:stream';
import { AppError, errorFromPlain } from '../../core/errors.ts';
import type { PinnedAgent } from './pinned-tls.ts';

export type PinnedRequest = {
  readonly url: string;
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Sent as JSON. */
  readonly json?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** Longest silence on the socket; default 60 s. */
  readonly timeoutMs?: number;
};

const TIMEOUT_MS = 60_000;
const MAX_JSON_BYTES = 64 * 1_048_576;

/** Sends a request and gives the answer with its body unread. A status of 400 and above becomes the AppError that the server meant. */
async function pinnedRequest(agent: PinnedAgent, request: PinnedRequest): Promise<IncomingMessage> {
  const response = await exchange(agent, request);
  const status = response.statusCode ?? 500;
  if (status < 400) return response;
  throw problemError(status, await readText(response, 65_536), request.url);
}

/** As `pinnedRequest`, with the body parsed as JSON (at most 64 MiB); the caller checks it with its schema. */
export async function pinnedJson(agent: PinnedAgent, request: PinnedRequest): Promise<unknown> {
  const text = await readText(await pinnedRequest(agent, request), MAX_JSON_BYTES);
  try {
    return text === '' ? undefined : JSON.parse(text);
  } catch (cause) {
    throw new AppError('version_mismatch', `${request.url} did not answer JSON`, {
      hint: 'is it a Waystation server of this version?',
      cause,
    });
  }
}

/** Switches a connection to another protocol (RFC 9110 §7.8). The caller owns the socket; `head` came with the answer. */
export function pinnedUpgrade(
  agent: PinnedAgent,
  request: PinnedRequest & { readonly protocol: string },
): Promise<{ socket: Duplex; head: Buffer }> {
  return new Promise((resolve, reject) => {
    const headers = { ...request.headers, connection: 'Upgrade', upgrade: request.protocol };
    const sent = httpsRequest(request.url, options(agent, { ...request, headers }));
    sent.once('upgrade', (response, socket, head) => {
      // The time limit was for the answer: a tunnel may be silent.
      (socket as Duplex & { setTimeout(ms: number): void }).setTimeout(0);
      if (response.headers.upgrade?.toLowerCase() === request.protocol) return resolve({ socket, head });
      socket.destroy();
      reject(new AppError('version_mismatch', `${request.url} switched to another protocol than ${request.protocol}`));
    });
    sent.once('response', (response) => {
      readText(response, 65_536).then((text) => reject(problemError(response.statusCode ?? 500, text, request.url)), reject);
    });
    sent.once('timeout', () => sent.destroy(silence(request)));
    sent.once('error', (error) => reject(connectionError(error, request.url)));
    onAbort(sent, request, reject);
    sent.end();
  });
}

function exchange(agent: PinnedAgent, request: PinnedRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const body = request.json === undefined ? undefined : JSON.stringify(request.json);
    const headers = {
      ...request.headers,
      ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) }),
    };
    const sent = httpsRequest(request.url, options(agent, { ...request, headers }));
    sent.once('response', resolve);
    sent.once('timeout', () => sent.destroy(silence(request)));
    sent.once('error', (error) => reject(connectionError(error, request.url)));
    onAbort(sent, request, reject);
    sent.end(body);
  });
}

/** Node tells of an abort only when the connection is there; a server that never answers would hold us until the timeout. */
function onAbort(sent: ClientRequest, { signal }: PinnedRequest, reject: (error: Error) => void): void {
  const tell = () => reject(signal?.reason instanceof Error ? signal.reason : new DOMException('aborted', 'AbortError'));
  if (signal?.aborted) tell();
  signal?.addEventListener('abort', tell, { once: true });
  // One signal may live through thousands of requests.
  sent.once('close', () => signal?.removeEventListener('abort', tell));
}

function options(agent: PinnedAgent, request: PinnedRequest): RequestOptions {
  return {
    agent,
    method: request.method ?? (request.json === undefined ? 'GET' : 'POST'),
    headers: { ...request.headers },
    timeout: request.timeoutMs ?? TIMEOUT_MS,
    ...(request.signal ? { signal: request.signal } : {}),
  };
}

async function readText(response: IncomingMessage, limitBytes: number): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > limitBytes) throw new AppError('bad_data', `the answer is longer than ${limitBytes} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

function problemError(status: number, text: string, url: string): AppError {
  try {
    const problem = JSON.parse(text) as { code?: string; detail?: string; hint?: string };
    if (problem.code && problem.detail) return errorFromPlain({ code: problem.code, message: problem.detail, hint: problem.hint });
  } catch (cause) {
    return new AppError('version_mismatch', `${url} answered ${status} without words`, { hint: 'is it a Waystation server?', cause });
  }
  return new AppError('version_mismatch', `${url} answered ${status} in a form we do not know`, { hint: 'is it a Waystation server?' });
}

function silence(request: PinnedRequest): AppError {
  return new AppError('unreachable', `${request.url} did not answer within ${request.timeoutMs ?? TIMEOUT_MS} ms`, { hint: 'try again' });
}

function connectionError(error: Error, url: string): Error {
  if (error instanceof AppError || error.name === 'AbortError') return error;
  const why = (error as NodeJS.ErrnoException).code ?? error.message;
  return new AppError('unreachable', `the connection to ${url} broke: ${why}`, { hint: 'check the network and try again', cause: error });
}
