import { type ClientRequest, type IncomingMessage, request as requestPlain } from 'node:http';
import { type RequestOptions, request as requestTls } from 'node:https';
import { connect as connectSocket } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { AppError, errorFromPlain } from '../core/errors.ts';
import { parseDigest } from '../core/ids.ts';
import { readServerId } from '../server/server-id.ts';
import { PinnedAgent } from '../server/trust/pinned-tls.ts';

/**
 * The API of a server. Paths begin with `/api/v1/`; bodies and answers are JSON; a problem+json answer is thrown as
 * the AppError it describes. `unreachable` when the connection breaks.
 */
export type Client = {
  get<Answer = unknown>(path: string): Promise<Answer>;
  post<Answer = unknown>(path: string, body?: unknown): Promise<Answer>;
  put<Answer = unknown>(path: string, body?: unknown): Promise<Answer>;
  patch<Answer = unknown>(path: string, body?: unknown): Promise<Answer>;
  delete<Answer = unknown>(path: string): Promise<Answer>;
  /** The answer itself once its status is good, for streams. `body` is sent as it is when it is a stream, else as JSON. */
  open(method: string, path: string, body?: unknown): Promise<IncomingMessage>;
};

/** A call may take its time; when it is silent for so long, the server is asked whether it lives, and has as long again. */
const SILENCE_MS = 12_000;

type Transport = {
  readonly where: string;
  readonly silenceMs: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly start: (options: RequestOptions) => ClientRequest;
};

export function socketPath(dataDir: string): string {
  return join(dataDir, 'run', 'api.sock');
}

/** Whether a server answers at DIR/run/api.sock (a socket file left by a dead one does not). */
export function isListening(dataDir: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connectSocket(socketPath(dataDir));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EACCES') return resolve(false);
      reject(
        new AppError('not_permitted', `no right to talk to the server of ${dataDir}`, {
          hint: 'run as its user, or use --url with a token',
        }),
      );
    });
  });
}

/** The server that holds the directory. Errors: `not_running`; the hint says whether there is one to be started. */
export async function connectLocal(dataDir: string, silenceMs = SILENCE_MS): Promise<Client> {
  if (!(await isListening(dataDir))) throw await notRunning(dataDir);
  return createClient({
    where: dataDir,
    silenceMs,
    headers: { host: 'localhost' },
    start: (options) => requestPlain({ ...options, agent: false, socketPath: socketPath(dataDir) }),
  });
}

async function notRunning(dataDir: string): Promise<AppError> {
  try {
    await readServerId(dataDir);
    return new AppError('not_running', `no server runs on ${dataDir}`, { hint: `start waystation serve --data ${dataDir}` });
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return new AppError('not_running', error.message, { ...(error.hint === undefined ? {} : { hint: error.hint }), cause: error });
  }
}

/** A server by its HTTPS address, checked against `caPin` (SHA-256 of its CA's SPKI) or, without one, the system's CAs. */
export function connectUrl(url: string, options: { readonly token?: string; readonly caPin?: string } = {}): Client {
  const base = URL.parse(url);
  if (base?.protocol !== 'https:') throw new AppError('usage', 'the URL of a server begins with https://', { hint: 'correct --url' });
  const agent = options.caPin === undefined ? false : new PinnedAgent({ pin: parseDigest(options.caPin) });
  return createClient({
    where: base.origin,
    silenceMs: SILENCE_MS,
    // A command makes few requests: no connection outlives its answer.
    headers: { host: base.host, connection: 'close', ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }) },
    start: (request) =>
      requestTls({ ...request, agent, host: base.hostname.replace(/^\[|\]$/g, ''), port: base.port || 443, minVersion: 'TLSv1.3' }),
  });
}

function connectFailure(where: string, error: Error): AppError {
  if (error instanceof AppError) return error;
  const code = (error as NodeJS.ErrnoException).code ?? error.message;
  if (/CERT|SELF_SIGNED|UNABLE_TO_/.test(code)) {
    return new AppError('denied', `the certificate of ${where} is not vouched for by this system's CAs (${code})`, {
      hint: 'give the fingerprint that its "init" printed with --ca-pin or WAYSTATION_CA_PIN',
      cause: error,
    });
  }
  return new AppError('unreachable', `cannot reach the server of ${where}: ${code}`, {
    hint: 'check that it runs and that the address is right',
    cause: error,
  });
}

function createClient(transport: Transport): Client {
  const call = async <Answer>(method: string, path: string, body?: unknown): Promise<Answer> => {
    const text = await readText(await exchange(transport, method, path, body));
    return (text === '' ? undefined : JSON.parse(text)) as Answer;
  };
  return {
    get: (path) => call('GET', path),
    post: (path, body) => call('POST', path, body ?? {}),
    put: (path, body) => call('PUT', path, body ?? {}),
    patch: (path, body) => call('PATCH', path, body ?? {}),
    delete: (path) => call('DELETE', path),
    open: (method, path, body) => exchange(transport, method, path, body),
  };
}

async function exchange(transport: Transport, method: string, path: string, body: unknown): Promise<IncomingMessage> {
  const isStream = typeof (body as Readable | undefined)?.pipe === 'function';
  const payload = body === undefined || isStream ? undefined : Buffer.from(JSON.stringify(body));
  const headers = { ...transport.headers, accept: 'application/json', ...(isStream ? {} : jsonHeaders(payload)) };
  const outgoing = transport.start({ method, path, headers });
  if (isStream) (body as Readable).pipe(outgoing);
  else outgoing.end(payload);
  const answer = await whileAlive(transport, outgoing);
  if ((answer.statusCode ?? 500) < 400) return answer;
  throw problemError(answer.statusCode ?? 500, await readText(answer));
}

function jsonHeaders(payload: Buffer | undefined): Record<string, string> {
  return payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(payload.byteLength) };
}

function answerOf(outgoing: ClientRequest, where: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    outgoing.once('response', resolve);
    outgoing.once('error', (error) => reject(connectFailure(where, error)));
  });
}

/** The answer, however long it takes, unless the server stops answering at all: then the call ends with `unreachable`. */
async function whileAlive(transport: Transport, outgoing: ClientRequest): Promise<IncomingMessage> {
  const ask = () => {
    isAlive(transport).then((alive) => {
      if (!alive) outgoing.destroy(silent(transport));
    });
  };
  const timer = setInterval(ask, transport.silenceMs);
  try {
    return await answerOf(outgoing, transport.where);
  } finally {
    clearInterval(timer);
  }
}

/** Whether anything answers within the time; what it says does not matter, nor does a refusal: the call itself will tell. */
function isAlive({ start, headers, silenceMs }: Transport): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = start({ method: 'GET', path: '/healthz', headers });
    const timer = setTimeout(() => {
      resolve(false);
      probe.destroy();
    }, silenceMs);
    const answered = () => {
      clearTimeout(timer);
      resolve(true);
      probe.destroy();
    };
    probe.once('response', answered).on('error', answered).end();
  });
}

function silent({ where, silenceMs }: Transport): AppError {
  return new AppError('unreachable', `the server of ${where} takes connections and does not answer, for ${(2 * silenceMs) / 1000} s now`, {
    hint: 'see whether it was stopped or hangs, and restart it',
  });
}

async function readText(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function problemError(status: number, text: string): AppError {
  try {
    const { code, detail, title, hint } = JSON.parse(text) as Record<string, string | undefined>;
    return errorFromPlain({ ...(code === undefined ? {} : { code }), message: detail ?? title ?? `the server answered ${status}`, hint });
  } catch {
    // Not a problem document: something between us and the server answered.
    return new AppError('failed', `the server answered ${status}`, { hint: 'check that --url names a waystation server' });
  }
}
