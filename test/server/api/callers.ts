import 'reflect-metadata';
import { webcrypto, X509Certificate } from 'node:crypto';
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import * as x509 from '@peculiar/x509';
import { type Digest, type Id, newId } from '../../../core/ids.ts';
import { spkiDigest } from '../../../core/pin.ts';
import type { Site } from '../../../server/site.ts';
import { createAuthority, createRequest, issueClientLeaf } from '../../../server/trust/certificates.ts';
import { enrolChild } from '../../../server/trust/enrol.ts';
import { issueEnrolToken } from '../../../server/trust/enrol-token.ts';
import { signerOf } from './signer.ts';

/** Who calls: with a client certificate, an operator token, a browser's cookie, several of them or nothing. */
export type Caller = {
  readonly certificate?: { readonly key: string; readonly cert: string };
  readonly token?: string;
  /** Of the console; with it what a browser says of the page that asks. */
  readonly cookie?: string;
  readonly origin?: string;
};

export type Address = { readonly port: number } | { readonly socketPath: string };

export type Question = Address & {
  readonly method: string;
  readonly path: string;
  readonly caller: Caller;
  readonly tls?: boolean;
  readonly body?: string | Buffer;
  readonly headers?: Record<string, string>;
};

export type Answer = {
  readonly status: number;
  readonly text: string;
  readonly octets: Buffer;
  readonly json: Record<string, unknown> | undefined;
  readonly headers: IncomingMessage['headers'];
};

/** One request on its own connection. The server's certificate is not checked: these callers test what the server checks. */
export function ask(question: Question): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = question.tls ? httpsRequest(requestOptions(question)) : httpRequest(requestOptions(question));
    sent.once('error', reject);
    sent.once('response', async (response) => {
      try {
        const octets = Buffer.concat(await response.toArray());
        const text = octets.toString('utf8');
        resolve({ status: response.statusCode ?? 0, text, octets, json: parse(text), headers: response.headers });
      } catch (error) {
        reject(error as Error);
      }
    });
    sent.end(question.body);
  });
}

/** Asks for another protocol and gives the status of the answer. */
export function askUpgrade(
  question: Address & { readonly path: string; readonly protocol: string; readonly caller: Caller },
): Promise<{ readonly status: number }> {
  return new Promise((resolve, reject) => {
    const headers = { connection: 'Upgrade', upgrade: question.protocol };
    const sent = httpsRequest(requestOptions({ ...question, method: 'GET', headers }));
    sent.once('error', reject);
    sent.once('upgrade', (_response, socket) => {
      socket.destroy();
      resolve({ status: 101 });
    });
    sent.once('response', (response) => {
      response.resume();
      resolve({ status: response.statusCode ?? 0 });
    });
    sent.end();
  });
}

/** A child that enrolled at this site, without a site of its own. */
export async function joinChild(site: Site, name: string): Promise<{ id: Id; certificate: { key: string; cert: string } }> {
  const id = newId();
  const { token } = await issueEnrolToken(site);
  const { keyPem, csrPem } = await createRequest(id);
  const answer = await enrolChild(site, { protocol: 1, token, serverId: id, name, csr: csrPem, signer: await signerOf(id) });
  return { id, certificate: { key: keyPem, cert: answer.certificate } };
}

/** A certificate for this server id from somebody else's CA. */
export async function foreignCertificate(serverId: Id): Promise<{ key: string; cert: string }> {
  const ca = await createAuthority(serverId, Date.now());
  const { keyPem, csrPem } = await createRequest(serverId);
  return { key: keyPem, cert: await issueClientLeaf(ca, csrPem, serverId, Date.now()) };
}

/** What an agent shows: a key of its own with a self-signed certificate. */
export async function selfMadeCertificate(): Promise<{ certificate: { key: string; cert: string }; keyId: Digest }> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const made = await x509.X509CertificateGenerator.createSelfSigned({ name: 'CN=agent', keys, signingAlgorithm: algorithm }, webcrypto);
  const key = x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY');
  const cert = made.toString('pem');
  return { certificate: { key, cert }, keyId: spkiDigest(new X509Certificate(cert).publicKey) };
}

function requestOptions(question: Question): RequestOptions & { rejectUnauthorized: boolean } {
  const { caller } = question;
  const where = 'port' in question ? { host: '127.0.0.1', port: question.port } : { socketPath: question.socketPath };
  const authorization = caller.token === undefined ? {} : { authorization: `Bearer ${caller.token}` };
  const browser = { ...(caller.cookie && { cookie: caller.cookie }), ...(caller.origin && { origin: caller.origin }) };
  return {
    ...where,
    ...(caller.certificate ?? {}),
    agent: false,
    rejectUnauthorized: false,
    method: question.method,
    path: question.path,
    headers: { ...question.headers, ...authorization, ...browser },
  };
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    // Not every answer is JSON; the caller looks at the text then.
    return undefined;
  }
}
