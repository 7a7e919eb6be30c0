import https from 'node:https';
import type { Socket } from 'node:net';
import tls from 'node:tls';
import type { Digest } from '../core/ids.ts';
import { checkPinnedChain } from '../core/pin.ts';
import type { AgentIdentity } from './identity.ts';

type Created = (error: Error | null, socket: Socket) => void;

/**
 * Connections to one server that are handed out only after the server showed that the pinned CA vouches for it:
 * no request octet leaves before. Host names and dates are not looked at: the machine's clock may say anything,
 * and servers are known by their key.
 */
export class PinnedAgent extends https.Agent {
  readonly #identity: AgentIdentity;
  readonly #pin: Digest;
  #caPem: string | undefined;

  constructor(identity: AgentIdentity, pin: Digest) {
    super({ keepAlive: true, maxCachedSessions: 0, timeout: 60_000 });
    this.#identity = identity;
    this.#pin = pin;
  }

  /** The pinned CA's certificate as the server sent it; undefined before the first connection. */
  get caPem(): string | undefined {
    return this.#caPem;
  }

  override createConnection(options: https.RequestOptions, created?: Created): undefined {
    const { key, certificate: cert } = this.#identity;
    const host = options.host ?? '';
    const socket = tls.connect({
      host,
      port: Number(options.port ?? 443),
      key,
      cert,
      minVersion: 'TLSv1.3',
      rejectUnauthorized: false,
      ...(/^[\d.]+$|:/.test(host) ? {} : { servername: host }),
    });
    const fail = (error: Error) => {
      socket.destroy();
      created?.(error, socket);
    };
    socket.once('error', fail);
    socket.setTimeout(20_000, () => socket.destroy(new Error(`no TLS handshake with ${host} within 20 s`)));
    socket.once('secureConnect', () => {
      try {
        this.#caPem = checkPinnedChain(peerChain(socket), this.#pin, { ignoreDates: true, now: 0 }).toString();
      } catch (error) {
        return fail(error as Error);
      }
      socket.off('error', fail);
      socket.setTimeout(0);
      created?.(null, socket);
    });
    return undefined;
  }
}

/** What the peer sent, DER, leaf first. Node links a self-signed certificate to itself. */
function peerChain(socket: tls.TLSSocket): Uint8Array[] {
  const chain: Uint8Array[] = [];
  let certificate: tls.DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  while (certificate?.raw !== undefined && chain.length < 8) {
    chain.push(certificate.raw);
    const issuer: tls.DetailedPeerCertificate | undefined = certificate.issuerCertificate;
    certificate = issuer === certificate ? undefined : issuer;
  }
  return chain;
}
