import type { ClientRequest, IncomingMessage } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import type { Duplex } from 'node:stream';
import { type JsonLimits, parseBoundedJson } from '../../core/bounded-json.ts';
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
  /** What the answer may be; default 1 MiB and 20,000 values. */
  readonly limits?: JsonLimits;
};

const TIMEOUT_MS = 60_000;
const ASK_VERSION = 'is it a Waystation server of this version?';
const LIMITS: JsonLimits = { bytes: 1_048_576, values: 20_000 };
const PROBLEM_LIMITS: JsonLimits = { bytes: 65_536, values: 100 };
/** An answer that drips slower than this is none: silence alone would let a peer hold us for ever. */
const SLOWEST_BYTES_PER_SECOND = 1024;

/** Sends a request and gives the answer with its body unread. A status of 400 and above becomes the AppError that the server meant. */
async function pinnedRequest(agent: PinnedAgent, request: PinnedRequest): Promise<IncomingMessage> {
  const response = await exchange(agent, request);
  const status = response.statusCode ?? 500;
  if (status >= 200 && status < 300) return response;
  if (status < 400) {
    response.destroy();
    throw new AppError('version_mismatch', `${request.url} answered ${status}: where it leads is not followed`, { hint: ASK_VERSION });
  }
  throw problemError(status, await readOctets(response, PROBLEM_LIMITS.bytes, request), request.url);
}

/** As `pinnedRequest`, with the body parsed as JSON within the request's limits; the caller checks it with its schema. */
export async function pinnedJson(agent: PinnedAgent, request: PinnedRequest): Promise<unknown> {
  const limits = request.limits ?? LIMITS;
  const octets = await readOctets(await pinnedRequest(agent, request), limits.bytes, request);
  try {
    return octets.length === 0 ? undefined : parseBoundedJson(octets, limits);
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw new AppError('version_mismatch', `${request.url} did not answer JSON`, { hint: ASK_VERSION, cause });
  }
}

/** Switches a connection to another protocol (RFC 9110 §7.8). The caller owns the socket; `head` came with the answer; `abilities` is what the server says it can do. */
export function pinnedUpgrade(
  agent: PinnedAgent,
  request: PinnedRequest & { readonly protocol: string },
): Promise<{ socket: Duplex; head: Buffer; abilities: readonly string[] }> {
  return new Promise((resolve, reject) => {
    const headers = { ...request.headers, connection: 'Upgrade', upgrade: request.protocol };
    const sent = httpsRequest(request.url, options(agent, { ...request, headers }));
    sent.once('upgrade', (response, socket, head) => {
      // Node takes its own listener away here. Until the owner has his, a reset must not be nobody's: that would end the process.
      socket.on('error', () => undefined);
      // The time limit was for the answer: a tunnel may be silent.
      (socket as Duplex & { setTimeout(ms: number): void }).setTimeout(0);
      const abilities = String(response.headers['waystation-abilities'] ?? '').split(' ');
      if (response.headers.upgrade?.toLowerCase() === request.protocol) return resolve({ socket, head, abilities });
      socket.destroy();
      reject(new AppError('version_mismatch', `${request.url} switched to another protocol than ${request.protocol}`));
    });
    sent.once('response', (response) => {
      const read = readOctets(response, PROBLEM_LIMITS.bytes, request);
      read.then((octets) => reject(problemError(response.statusCode ?? 500, octets, request.url)), reject);
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

async function readOctets(response: IncomingMessage, limitBytes: number, request: PinnedRequest): Promise<Buffer> {
  try {
    return await collect(response, limitBytes, request);
  } catch (error) {
    throw connectionError(error as Error, request.url);
  }
}

async function collect(response: IncomingMessage, limitBytes: number, request: PinnedRequest): Promise<Buffer> {
  const startedMs = performance.now();
  const patienceMs = request.timeoutMs ?? TIMEOUT_MS;
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    length += part.length;
    // Leaving the loop destroys the response, and with it the connection: nothing more is taken.
    if (length > limitBytes) throw new AppError('bad_data', `the answer is longer than ${limitBytes} bytes`);
    if (performance.now() - startedMs > patienceMs + (length / SLOWEST_BYTES_PER_SECOND) * 1000) throw drip(request, length);
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function problemError(status: number, octets: Buffer, url: string): AppError {
  try {
    const problem = (parseBoundedJson(octets, PROBLEM_LIMITS) ?? {}) as { code?: unknown; detail?: unknown; hint?: unknown };
    if (typeof problem.code === 'string' && typeof problem.detail === 'string') {
      return errorFromPlain({
        code: problem.code,
        message: problem.detail,
        hint: typeof problem.hint === 'string' ? problem.hint : undefined,
      });
    }
  } catch (cause) {
    return new AppError('version_mismatch', `${url} answered ${status} without words`, { hint: 'is it a Waystation server?', cause });
  }
  return new AppError('version_mismatch', `${url} answered ${status} in a form we do not know`, { hint: 'is it a Waystation server?' });
}

function silence(request: PinnedRequest): AppError {
  return new AppError('unreachable', `${request.url} did not answer within ${request.timeoutMs ?? TIMEOUT_MS} ms`, { hint: 'try again' });
}

function drip({ url }: PinnedRequest, bytes: number): AppError {
  return new AppError('unreachable', `${url} answers too slowly: ${bytes} bytes so far`, { hint: 'check the link; then run again' });
}

function connectionError(error: Error, url: string): Error {
  if (error instanceof AppError || error.name === 'AbortError') return error;
  const why = (error as NodeJS.ErrnoException).code ?? error.message;
  return new AppError('unreachable', `the connection to ${url} broke: ${why}`, { hint: 'check the network and try again', cause: error });
}
