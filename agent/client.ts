import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import type { ZodType } from 'zod';
import { type Hello, Instruction, type Report, ReportAnswer, Welcome } from '../core/agent-protocol.ts';
import { AppError, errorFromPlain } from '../core/errors.ts';
import type { Digest } from '../core/ids.ts';
import type { AgentIdentity } from './identity.ts';
import { PinnedAgent } from './pinned-agent.ts';

/**
 * The server as the agent sees it. Every call rejects with AppError: the server's own code where it answered,
 * `unreachable` when there was no answer (worth trying again), `denied` when it is not the pinned server.
 */
export type ServerClient = {
  hello(hello: Hello): Promise<Welcome>;
  next(signal: AbortSignal): Promise<Instruction>;
  report(report: Report): Promise<{ state: string }>;
  /** Stored frames that hold these chunks, as octets in order of arrival. The caller reads to the end or destroys it. */
  chunks(request: { manifest: Digest; digests: readonly Digest[] }, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>;
  /** For the first-boot record: the pinned CA's certificate. */
  readonly server: { readonly url: string; caPem(): string };
  close(): void;
};

const MAX_ANSWER_BYTES = 1024 * 1024;
const REPORT_TIMEOUT_MS = 20_000;
/** The server answers a long poll within 25 s. */
const POLL_TIMEOUT_MS = 45_000;
/** Octets must keep coming this often while chunks are read. */
const STALL_MS = 60_000;

export function openClient(url: string, pin: Digest, identity: AgentIdentity): ServerClient {
  const agent = new PinnedAgent(identity, pin);
  const post = (path: string, body: unknown, limits: { timeoutMs: number; signal?: AbortSignal }) =>
    request(agent, `${url}/api/v1${path}`, JSON.stringify(body), limits);
  const json = async <T>(schema: ZodType<T>, answer: Promise<IncomingMessage>): Promise<T> =>
    parseAnswer(schema, await readText(await answer));
  return {
    hello: (hello) => json(Welcome, post('/agent/hello', hello, { timeoutMs: REPORT_TIMEOUT_MS })),
    next: (signal) => json(Instruction, post('/agent/next', {}, { timeoutMs: POLL_TIMEOUT_MS, signal })),
    report: (report) => json(ReportAnswer, post('/agent/report', report, { timeoutMs: REPORT_TIMEOUT_MS })),
    chunks: (wanted, signal) => post('/agent/chunks', wanted, { timeoutMs: STALL_MS, signal }),
    server: { url, caPem: () => agent.caPem ?? '' },
    close: () => agent.destroy(),
  };
}

/** Posts JSON and resolves with a 200 answer whose body is not read yet; `timeoutMs` is of silence, headers and body alike. */
function request(
  agent: PinnedAgent,
  url: string,
  body: string,
  limits: { timeoutMs: number; signal?: AbortSignal },
): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
  const sent = https.request(url, { agent, method: 'POST', headers, ...(limits.signal ? { signal: limits.signal } : {}) });
  sent.setTimeout(limits.timeoutMs, () => sent.destroy(new Error(`silent for ${limits.timeoutMs / 1000} s`)));
  sent.on('error', (error) => reject(asUnreachable(error, url, limits.signal)));
  sent.on('response', (answer) => {
    if (answer.statusCode === 200) resolve(answer);
    else readText(answer).then((text) => reject(refusal(answer.statusCode ?? 0, text, url)), reject);
  });
  sent.end(body);
  return promise;
}

async function readText(answer: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const part of answer as AsyncIterable<Buffer>) {
      bytes += part.length;
      if (bytes > MAX_ANSWER_BYTES) throw new AppError('bad_data', `the server's answer is longer than ${MAX_ANSWER_BYTES} bytes`);
      parts.push(part);
    }
  } catch (error) {
    throw asUnreachable(error, 'the server', undefined);
  }
  return Buffer.concat(parts).toString('utf8');
}

function parseAnswer<T>(schema: ZodType<T>, text: string): T {
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new AppError('bad_data', "the server's answer is not what this agent understands", { hint: 'build the engine again', cause });
  }
}

/** An AppError from an RFC 9457 problem document, or from whatever stands in front of the server. */
function refusal(status: number, text: string, url: string): AppError {
  try {
    const problem = JSON.parse(text) as { code?: string; detail?: string; title?: string; hint?: string };
    const message = problem.detail ?? problem.title ?? `HTTP ${status}`;
    if (typeof problem.code === 'string') return errorFromPlain({ code: problem.code, message, hint: problem.hint });
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  return new AppError(status >= 500 || status === 429 ? 'unreachable' : 'failed', `${new URL(url).pathname} answered HTTP ${status}`);
}

/** Network failures, in words; AppErrors (the pin did not match) stay as they are. */
export function asUnreachable(error: unknown, where: string, signal: AbortSignal | undefined): AppError {
  if (error instanceof AppError) return error;
  if (signal?.aborted) return new AppError('cancelled', 'the work was stopped', { cause: error });
  const { code, message } = error as NodeJS.ErrnoException;
  return new AppError('unreachable', `${where}: ${code ?? message}`, { hint: 'it is tried again', cause: error });
}
