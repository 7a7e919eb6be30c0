import { createHash, type KeyObject, X509Certificate } from 'node:crypto';
import { AppError } from './errors.ts';
import { type Digest, digestFromBytes } from './ids.ts';

const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';

/** What a pinned certificate authority is known by: SHA-256 of its public key (SPKI, DER). */
export function spkiDigest(key: KeyObject): Digest {
  return digestFromBytes(
    createHash('sha256')
      .update(key.export({ type: 'spki', format: 'der' }))
      .digest(),
  );
}

export type PinOptions = {
  /** For a client whose clock is not to be trusted (the agent before it has the server's time). */
  readonly ignoreDates?: boolean;
  /** Epoch milliseconds that the certificates' dates are judged by. */
  readonly now: number;
};

/**
 * Says whether a TLS server is one that the pinned CA vouches for. `chain` is what the peer sent, DER, leaf first
 * (RFC 8446 §4.4.2); the CA must be among it. The leaf must be issued by the CA for server use: a client certificate
 * of the same CA must not pass for a server. Host names are not looked at. Throws `denied` (another CA) or `expired`.
 * That the peer holds the leaf's key is the handshake's business.
 */
export function checkPinnedChain(chain: readonly Uint8Array[], pin: Digest, options: PinOptions): X509Certificate {
  const certificates = chain.map(parseCertificate);
  const leaf = certificates[0];
  const ca = certificates.find((candidate) => spkiDigest(candidate.publicKey) === pin);
  if (!leaf || !ca?.ca) throw pinMismatch(certificates.at(-1), pin);
  if (!leaf.checkIssued(ca) || !leaf.verify(ca.publicKey)) throw pinMismatch(leaf, pin);
  if (!leaf.keyUsage?.includes(SERVER_AUTH)) {
    throw new AppError('denied', 'the peer showed a certificate that is not for servers', { hint: 'check the address' });
  }
  if (!options.ignoreDates) checkDates(leaf, options.now);
  return ca;
}

function checkDates(leaf: X509Certificate, now: number): void {
  const starts = Date.parse(leaf.validFrom);
  const ends = Date.parse(leaf.validTo);
  if (now >= starts && now <= ends) return;
  throw new AppError(
    'expired',
    `the peer's certificate is valid from ${new Date(starts).toISOString()} to ${new Date(ends).toISOString()}, it is ${new Date(now).toISOString()} here`,
    { hint: 'check the clocks of both machines; a running server renews its certificate by itself' },
  );
}

function parseCertificate(der: Uint8Array): X509Certificate {
  try {
    return new X509Certificate(der);
  } catch (cause) {
    throw new AppError('denied', 'the peer sent a certificate that cannot be read', { cause });
  }
}

function pinMismatch(seen: X509Certificate | undefined, pin: Digest): AppError {
  const found = seen ? spkiDigest(seen.publicKey) : 'nothing';
  return new AppError('denied', `the peer is not vouched for by the pinned CA ${pin} (it showed ${found})`, {
    hint: 'check the address; if the server was rebuilt with new keys, enrol again with a new token',
  });
}
