import { Agent, type RequestOptions } from 'node:https';
import { connect as connectTcp, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import { checkPinnedChain } from '../../core/pin.ts';

export type PinnedAgentOptions = {
  /** SHA-256 of the SPKI of the CA that must have issued the server's leaf. */
  readonly pin: Digest;
  /** Our client certificate with its key, PEM; both or none. */
  readonly cert?: string;
  readonly key?: string;
  /** Epoch milliseconds that the server's certificate is judged by. */
  readonly now?: () => number;
  readonly connectTimeoutMs?: number;
};

const CONNECT_TIMEOUT_MS = 10_000;

/**
 * An agent for node:https (requests and upgrades) that speaks TLS 1.3 only with the server that a pin names. Not one
 * octet of a request leaves before the pin was checked. It counts what its sockets carried, TLS and all; the caller
 * closes it with `destroy()`. Errors of its sockets are AppErrors: `unreachable`, `denied`, `expired`.
 */
export class PinnedAgent extends Agent {
  readonly #options: PinnedAgentOptions;
  readonly #open = new Set<Socket>();
  readonly #connecting = new Set<Socket>();
  #closedBytes = { read: 0, written: 0 };

  constructor(options: PinnedAgentOptions) {
    // A resumed session brings no chain to check, so none is kept.
    super({ keepAlive: true, maxCachedSessions: 0, maxSockets: 8 });
    this.#options = options;
  }

  /** Octets on the wire over all sockets of this agent so far, as TCP carried them. */
  bytes(): { readonly read: number; readonly written: number } {
    const total = { ...this.#closedBytes };
    for (const socket of this.#open) {
      total.read += socket.bytesRead;
      total.written += socket.bytesWritten;
    }
    return total;
  }

  override createConnection(target: RequestOptions, callback?: (error: Error | null, socket: Duplex) => void): undefined {
    const host = target.host ?? 'localhost';
    const port = Number(target.port ?? 443);
    this.#connect(host, port).then(
      (socket) => callback?.(null, socket),
      // Node reads the socket only when there is no error.
      (error: Error) => callback?.(error, undefined as unknown as Duplex),
    );
    return undefined;
  }

  /** Also gives up connections that are still being made, which Node's agent does not know yet. */
  override destroy(): void {
    for (const socket of this.#connecting) socket.destroy();
    super.destroy();
  }

  #connect(host: string, port: number): Promise<TLSSocket> {
    const { pin, cert, key, now = Date.now, connectTimeoutMs = CONNECT_TIMEOUT_MS } = this.#options;
    return new Promise((resolve, reject) => {
      const tcp = connectTcp({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 15_000 });
      this.#count(tcp);
      this.#connecting.add(tcp);
      const tls = connectTls({
        socket: tcp,
        minVersion: 'TLSv1.3',
        // The pin decides instead: host names and public CAs say nothing here.
        rejectUnauthorized: false,
        ...(cert && key ? { cert, key } : {}),
      });
      const fail = (error: Error) => {
        clearTimeout(timer);
        this.#connecting.delete(tcp);
        tls.destroy();
        tcp.destroy();
        reject(error instanceof AppError ? error : unreachable(host, port, error));
      };
      const timer = setTimeout(() => fail(new Error('no answer')), connectTimeoutMs);
      tcp.once('error', fail);
      tcp.once('close', () => fail(new Error('the connection was given up')));
      tls.once('error', fail);
      // A connection that was refused closes this end first: what it failed of says more.
      const onClose = () => fail(tcp.errored ?? new Error('the connection was closed during the handshake'));
      tls.once('close', onClose);
      tls.once('secureConnect', () => {
        clearTimeout(timer);
        this.#connecting.delete(tcp);
        try {
          checkPinnedChain(peerChain(tls), pin, { now: now() });
        } catch (error) {
          return fail(error as Error);
        }
        tls.off('error', fail);
        tls.off('close', onClose);
        resolve(tls);
      });
    });
  }

  #count(socket: Socket): void {
    this.#open.add(socket);
    socket.once('close', () => {
      this.#open.delete(socket);
      this.#closedBytes = {
        read: this.#closedBytes.read + socket.bytesRead,
        written: this.#closedBytes.written + socket.bytesWritten,
      };
    });
  }
}

/** See PinnedAgent. */
export function pinnedAgent(options: PinnedAgentOptions): PinnedAgent {
  return new PinnedAgent(options);
}

/** What the peer sent, DER, leaf first. A self-signed certificate is its own issuer and ends the chain. */
function peerChain(socket: TLSSocket): Buffer[] {
  const chain: Buffer[] = [];
  let certificate = socket.getPeerX509Certificate();
  while (certificate && chain.length < 8 && !chain.some((seen) => seen.equals(certificate?.raw ?? Buffer.alloc(0)))) {
    chain.push(certificate.raw);
    certificate = certificate.issuerCertificate;
  }
  return chain;
}

/** What people meet most, in words. */
const WHY: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there (ECONNREFUSED)',
  EHOSTUNREACH: 'there is no way to it (EHOSTUNREACH)',
  ENETUNREACH: 'there is no way to its network (ENETUNREACH)',
  ENOTFOUND: 'nobody has that name (ENOTFOUND)',
  EAI_AGAIN: 'its name cannot be looked up now (EAI_AGAIN)',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it speaks no TLS on that port',
};

function unreachable(host: string, port: number, cause: Error): AppError {
  const code = (cause as NodeJS.ErrnoException).code;
  const why = WHY[code ?? ''] ?? code ?? cause.message;
  return new AppError('unreachable', `cannot reach ${host} port ${port}: ${why}`, {
    hint: 'check the address, the network and that "waystation serve" runs there',
    cause,
  });
}
