import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { AppError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';

export const DAY_MS = 86_400_000;
/** Certificates start this long before they are issued, for machines whose clock is behind. */
const BACKDATE_MS = 2 * DAY_MS;
const CA_DAYS = 20 * 365;
const LEAF_DAYS = 90;

const EC = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** A private key as PKCS#8 PEM with its certificate as PEM. */
export type CertifiedKey = { readonly keyPem: string; readonly certificatePem: string };

/** A new self-signed CA for one server: EC P-256, 20 years, may issue leaves only. */
export async function createAuthority(serverId: Id, now: number): Promise<CertifiedKey> {
  const keys = await newKeyPair();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: `CN=Waystation CA ${serverId}`,
      keys,
      signingAlgorithm: EC,
      ...validity(now, CA_DAYS),
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return { keyPem: await exportKey(keys.privateKey), certificatePem: certificate.toString('pem') };
}

/** A TLS server certificate with a new key. Nobody checks its name: everybody pins the CA. */
export async function issueServerLeaf(ca: CertifiedKey, serverId: Id, now: number): Promise<CertifiedKey> {
  const keys = await newKeyPair();
  const names = new x509.SubjectAlternativeNameExtension([
    { type: 'dns', value: 'waystation.invalid' },
    { type: 'dns', value: `${serverId}.waystation.invalid` },
  ]);
  const certificatePem = await issue(ca, { subject: serverId, publicKey: keys.publicKey, now, use: 'serverAuth', extensions: [names] });
  return { keyPem: await exportKey(keys.privateKey), certificatePem };
}

/**
 * A certificate for another server's client key. Only the key is taken from the request, which must be signed
 * by it; every name in it is ignored. Throws `bad_data`.
 */
export async function issueClientLeaf(ca: CertifiedKey, csrPem: string, subjectId: Id, now: number): Promise<string> {
  const request = await parseRequest(csrPem);
  return issue(ca, { subject: subjectId, publicKey: request.publicKey, now, use: 'clientAuth', extensions: [] });
}

/** A new key and the PKCS#10 request for it (RFC 2986), both PEM. */
export async function createRequest(serverId: Id): Promise<{ readonly keyPem: string; readonly csrPem: string }> {
  const keys = await newKeyPair();
  return { keyPem: await exportKey(keys.privateKey), csrPem: await signRequest(serverId, keys) };
}

/** A request for a key that we have, with the certificate that is to be replaced. */
export async function requestForKey(serverId: Id, keyPem: string, certificatePem: string): Promise<string> {
  const publicKey = await new x509.X509Certificate(certificatePem).publicKey.export(EC, ['verify'], webcrypto);
  return signRequest(serverId, { privateKey: await importKey(keyPem), publicKey });
}

async function signRequest(serverId: Id, keys: webcrypto.CryptoKeyPair): Promise<string> {
  const request = await x509.Pkcs10CertificateRequestGenerator.create({ name: `CN=${serverId}`, keys, signingAlgorithm: EC }, webcrypto);
  return request.toString('pem');
}

type Issue = {
  readonly subject: Id;
  readonly publicKey: x509.PublicKeyType;
  readonly now: number;
  readonly use: 'serverAuth' | 'clientAuth';
  readonly extensions: readonly x509.Extension[];
};

async function issue(ca: CertifiedKey, wanted: Issue): Promise<string> {
  const authority = new x509.X509Certificate(ca.certificatePem);
  const certificate = await x509.X509CertificateGenerator.create(
    {
      subject: `CN=${wanted.subject}`,
      issuer: authority.subject,
      publicKey: wanted.publicKey,
      signingKey: await importKey(ca.keyPem),
      signingAlgorithm: EC,
      ...validity(wanted.now, LEAF_DAYS),
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage[wanted.use]], true),
        await x509.AuthorityKeyIdentifierExtension.create(authority, false, webcrypto),
        ...wanted.extensions,
      ],
    },
    webcrypto,
  );
  return certificate.toString('pem');
}

async function parseRequest(csrPem: string): Promise<x509.Pkcs10CertificateRequest> {
  try {
    const request = new x509.Pkcs10CertificateRequest(csrPem);
    if (await request.verify(webcrypto)) return request;
  } catch (cause) {
    throw new AppError('bad_data', 'the certificate request cannot be read', {
      hint: 'it must be PKCS#10, PEM, with an EC P-256 key',
      cause,
    });
  }
  throw new AppError('bad_data', 'the certificate request is not signed by its own key');
}

function validity(now: number, days: number): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(now - BACKDATE_MS), notAfter: new Date(now + days * DAY_MS) };
}

function newKeyPair(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(EC, true, ['sign', 'verify']);
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}

function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  return webcrypto.subtle.importKey('pkcs8', x509.PemConverter.decodeFirst(pem), EC, false, ['sign']);
}
