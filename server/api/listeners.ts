import { chmod, mkdir, rm } from 'node:fs/promises';
import { createServer as createHttpServer, type Server as HttpServer, type RequestListener, type ServerOptions } from 'node:http';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import type { AddressInfo, ListenOptions, Server, Socket } from 'node:net';
import { dirname } from 'node:path';
import { AppError } from '../../core/errors.ts';
import type { CertifiedKey } from '../trust/certificates.ts';

/**
 * Against slow and greedy clients: Node's own defaults allow 5 minutes for a request and any number of connections. A branch that
 * lost its power says nothing any more: the kernel asks after it, or a tunnel that has nothing to send would stay for ever.
 */
const LIMITS: ServerOptions = {
  headersTimeout: 10_000,
  requestTimeout: 60_000,
  keepAliveTimeout: 10_000,
  maxHeaderSize: 16_384,
  keepAlive: true,
  keepAliveInitialDelay: 60_000,
};
/** A room full of machines that boot at once, each with a few connections, must fit. */
const MAX_CONNECTIONS = 4096;
const MAX_HEADERS = 100;

export function createPlainListener(handler: RequestListener): HttpServer {
  return harden(createHttpServer(LIMITS, handler));
}

/** TLS 1.3 only. Every client is asked for a certificate and none is required: identity.ts judges it per request. */
export function createTlsListener(leaf: CertifiedKey, handler: RequestListener): HttpsServer {
  const tls = { minVersion: 'TLSv1.3', requestCert: true, rejectUnauthorized: false, handshakeTimeout: 10_000 } as const;
  return harden(createHttpsServer({ ...LIMITS, ...tls, ...secureContext(leaf) }, handler));
}

/** Makes new connections use a renewed leaf; open ones keep the old. */
export function swapLeaf(server: HttpsServer, leaf: CertifiedKey): void {
  server.setSecureContext({ ...secureContext(leaf), minVersion: 'TLSv1.3' });
}

/** Listens on a port of all addresses and returns the port. Throws `port_in_use` or `config` that name the setting to change. */
export async function listenOnPort(server: Server, port: number, key: string): Promise<number> {
  try {
    // `::` takes IPv4 as well; a kernel without IPv6 refuses it.
    await listen(server, { port, host: '::' }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EAFNOSUPPORT' && error.code !== 'EADDRNOTAVAIL') throw error;
      return listen(server, { port, host: '0.0.0.0' });
    });
  } catch (cause) {
    throw listenError(cause as NodeJS.ErrnoException, port, key);
  }
  return (server.address() as AddressInfo).port;
}

/** Listens on DIR/run/api.sock, for the owner of the directory only. The caller holds DIR/lock, so an old socket is a dead one. */
export async function listenOnSocket(server: Server, path: string): Promise<void> {
  const directory = dirname(path);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  // The socket is born with the umask's mode: until chmod the directory keeps others away.
  await chmod(directory, 0o700);
  await rm(path, { force: true });
  await listen(server, { path });
  await chmod(path, 0o600);
}

/** Stops taking connections, lets running requests end for `graceMs`, then cuts them, and what they were upgraded to. */
export async function closeListener(server: HttpServer | HttpsServer, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const timer = setTimeout(() => {
    // Node's closeAllConnections leaves out upgraded ones, and `close` waits for them: for a tunnel, all night.
    for (const socket of TAKEN.get(server) ?? []) socket.destroy();
  }, graceMs);
  await closed;
  clearTimeout(timer);
}

/** The connections that are open. */
const TAKEN = new WeakMap<Server, Set<Socket>>();

function harden<Listener extends HttpServer | HttpsServer>(server: Listener): Listener {
  const taken = new Set<Socket>();
  TAKEN.set(server, taken);
  server.on('connection', (socket: Socket) => {
    taken.add(socket);
    socket.once('close', () => taken.delete(socket));
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.maxHeadersCount = MAX_HEADERS;
  return server;
}

function secureContext(leaf: CertifiedKey): { key: string; cert: string } {
  return { key: leaf.keyPem, cert: leaf.certificatePem };
}

function listen(server: Server, options: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: Error) => reject(error);
    server.once('error', onError);
    server.listen(options, () => {
      server.off('error', onError);
      resolve();
    });
  });
}

function listenError(error: NodeJS.ErrnoException, port: number, key: string): AppError {
  const hint = `set "${key}" in waystation.yaml to another port, or 0 for any`;
  if (error.code === 'EADDRINUSE') {
    return new AppError('port_in_use', `port ${port} (${key}) is used by another program`, { hint: `stop it, or ${hint}`, cause: error });
  }
  if (error.code === 'EACCES') {
    return new AppError('config', `not allowed to listen on port ${port} (${key})`, { hint: `run as root, or ${hint}`, cause: error });
  }
  return new AppError('failed', `cannot listen on port ${port} (${key}): ${error.message}`, { hint, cause: error });
}
