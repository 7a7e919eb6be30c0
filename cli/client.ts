import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { connect as connectSocket } from 'node:net';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { AppError, errorFromPlain } from '../core/errors.ts';
import { type Digest, parseDigest } from '../core/ids.ts';
import { checkPinnedChain } from '../core/pin.ts';

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

type Transport = {
  readonly where: string;
  readonly headers: Readonly<Record<string, string>>;
  /** A connection that is ready for a request. */
  dial(): Promise<{ createConnection: () => ReturnType<typeof connectSocket> } | { socketPath: string }>;
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

/** The server that holds the directory. Errors: `not_running`. */
export async function connectLocal(dataDir: string): Promise<Client> {
  if (!(await isListening(dataDir))) {
    throw new AppError('not_running', `no server runs on ${dataDir}`, { hint: `start waystation serve --data ${dataDir}` });
  }
  return createClient({
    where: dataDir,
    headers: { host: 'localhost' },
    dial: async () => ({ socketPath: socketPath(dataDir) }),
  });
}

/** A server by its HTTPS address, checked against `caPin` (SHA-256 of its CA's SPKI) or, without one, the system's CAs. */
export function connectUrl(url: string, options: { readonly token?: string; readonly caPin?: string } = {}): Client {
  const base = URL.parse(url);
  if (base?.protocol !== 'https:') throw new AppError('usage', 'the URL of a server begins with https://', { hint: 'correct --url' });
  const pin = options.caPin === undefined ? undefined : parseDigest(options.caPin);
  return createClient({
    where: base.origin,
    headers: { host: base.host, ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }) },
    dial: async () => {
      const socket = await dialTls(base, pin);
      return { createConnection: () => socket };
    },
  });
}

function dialTls(base: URL, pin: Digest | undefined): Promise<TLSSocket> {
  const host = base.hostname.replace(/^\[|\]$/g, '');
  return new Promise((resolve, reject) => {
    const socket = connectTls({
      host,
      port: Number(base.port || 443),
      minVersion: 'TLSv1.3',
      rejectUnauthorized: pin === undefined,
      ...(/^[\d.]+$|:/.test(host) ? {} : { servername: host }),
    });
    socket.once('error', (error) => reject(tlsFailure(base, error)));
    // Nothing, and above all no token, is sent before the peer has been checked.
    socket.once('secureConnect', () => {
      try {
        if (pin !== undefined) checkPinnedChain(peerChain(socket), pin, { now: Date.now() });
        resolve(socket);
      } catch (error) {
        socket.destroy();
        reject(error);
      }
    });
  });
}

function peerChain(socket: TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = [];
  let certificate = socket.getPeerCertificate(true);
  while (certificate?.raw !== undefined) {
    chain.push(certificate.raw);
    if (certificate.issuerCertificate === undefined || certificate.issuerCertificate === certificate) break;
    certificate = certificate.issuerCertificate;
  }
  return chain;
}

function tlsFailure(base: URL, error: Error): AppError {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  if (/CERT|SELF_SIGNED|UNABLE_TO_/.test(code)) {
    return new AppError('denied', `the certificate of ${base.origin} is not vouched for by this system's CAs (${code})`, {
      hint: 'give the fingerprint that its "init" printed with --ca-pin or WAYSTATION_CA_PIN',
      cause: error,
    });
  }
  return unreachable(base.origin, error);
}

function unreachable(where: string, error: Error): AppError {
  return new AppError('unreachable', `cannot reach the server of ${where}: ${(error as NodeJS.ErrnoException).code ?? error.message}`, {
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
  const dialled = await transport.dial();
  const isStream = typeof (body as Readable | undefined)?.pipe === 'function';
  const payload = body === undefined || isStream ? undefined : Buffer.from(JSON.stringify(body));
  const headers = { ...transport.headers, accept: 'application/json', ...(isStream ? {} : jsonHeaders(payload)) };
  // Node uses createConnection only when no agent is named, and needs one told off for a socket path.
  const agent = 'socketPath' in dialled ? ({ agent: false } as const) : {};
  const outgoing = request({ ...dialled, ...agent, method, path, headers });
  if (isStream) (body as Readable).pipe(outgoing);
  else outgoing.end(payload);
  const answer = await answerOf(outgoing, transport.where);
  if ((answer.statusCode ?? 500) < 400) return answer;
  throw problemError(answer.statusCode ?? 500, await readText(answer));
}

function jsonHeaders(payload: Buffer | undefined): Record<string, string> {
  return payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(payload.byteLength) };
}

function answerOf(outgoing: ClientRequest, where: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    outgoing.once('response', resolve);
    outgoing.once('error', (error) => reject(unreachable(where, error)));
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
