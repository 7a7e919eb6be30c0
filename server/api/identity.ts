import { X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Identity, OperatorRole } from '../../core/authorise.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest, Id } from '../../core/ids.ts';
import { spkiDigest } from '../../core/pin.ts';
import { findOperatorToken } from '../db/operator-tokens.ts';
import { findChildByKey } from '../db/servers.ts';
import type { Site } from '../site.ts';
import { refuseReturning } from '../succession/fence.ts';
import { findByCookie, hasCookie, requireOwnPage, requireSession } from './session.ts';
import { hashToken, noteUse, requireToken } from './token.ts';

const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

/** Where a request came in. On the unix socket the file's mode is the proof. */
export type ListenerKind = 'boot' | 'api' | 'local';

/** Which target a self-made key is bound to (server/db/agent-keys.ts `findAgentKey`). */
export type FindAgent = (keyId: Digest) => Promise<{ readonly targetId: Id } | undefined>;

/** Who asks, as far as the edge can tell; `refusal` says why a proof that was shown does not count. */
export type Identified = {
  readonly identity: Identity;
  readonly clientKeyId: Digest | undefined;
  readonly refusal?: AppError;
};

export type IdentifyOptions = {
  readonly site: Site;
  readonly listener: ListenerKind;
  readonly findAgent: FindAgent;
  /** For the renewal of a client certificate: the key and the row decide, not the date. */
  readonly ignoreDates?: boolean;
};

type Known = Pick<Identified, 'identity' | 'refusal'>;

const ANONYMOUS: Identity = { kind: 'anonymous' };

/** Finds out who asks. A bearer token, when one is shown, decides alone; then the console's cookie; else the client certificate; never an address. */
export async function identify(request: IncomingMessage, options: IdentifyOptions): Promise<Identified> {
  if (options.listener === 'local') return { identity: { kind: 'local-admin' }, clientKeyId: undefined };
  if (options.listener === 'boot') return { identity: ANONYMOUS, clientKeyId: undefined };
  const certificate = peerCertificate(request.socket);
  const clientKeyId = certificate && spkiDigest(certificate.publicKey);
  const header = request.headers.authorization;
  if (header !== undefined) return { ...(await identifyOperator(header, options.site)), clientKeyId };
  if (hasCookie(options.site, request.headers)) return { ...(await identifyBrowser(request, options.site)), clientKeyId };
  if (!certificate || !clientKeyId) return { identity: ANONYMOUS, clientKeyId };
  if (isIssuedByUs(certificate, options.site.keys.caPem)) return identifyServer(certificate, clientKeyId, options);
  const agent = await options.findAgent(clientKeyId);
  return { identity: agent ? { kind: 'agent', targetId: agent.targetId, keyId: clientKeyId } : ANONYMOUS, clientKeyId };
}

async function identifyOperator(header: string, site: Site): Promise<Known> {
  const text = /^Bearer (wst_[A-Za-z0-9_-]{16,256})$/i.exec(header)?.[1];
  const found = text === undefined ? undefined : await findOperatorToken(site.db, hashToken(text));
  return asRefusal(async () => {
    const token = requireToken(found, site.now());
    await noteUse(site, token);
    return operator(token);
  });
}

/** A browser that signed in (session.ts). What it sends is its operator's wish only when a page of ours asked for it. */
async function identifyBrowser(request: IncomingMessage, site: Site): Promise<Known> {
  return asRefusal(async () => {
    const { token } = requireSession(await findByCookie(site, request.headers), site.now());
    requireOwnPage(request.method, request.headers);
    await noteUse(site, token);
    return operator(token);
  });
}

function operator({ id, role }: { readonly id: Id; readonly role: OperatorRole }): Identity {
  return { kind: 'operator', tokenId: id, role };
}

async function asRefusal(find: () => Promise<Identity>): Promise<Known> {
  try {
    return { identity: await find() };
  } catch (error) {
    if (error instanceof AppError) return { identity: ANONYMOUS, refusal: error };
    throw error;
  }
}

async function identifyServer(certificate: X509Certificate, clientKeyId: Digest, options: IdentifyOptions): Promise<Identified> {
  const server = await findChildByKey(options.site.db, clientKeyId);
  if (!server)
    return { ...refuse('denied', 'the client certificate is no longer the one in force', 'enrol again with a new token'), clientKeyId };
  if (server.state === 'revoked') {
    return {
      ...refuse('revoked', `server ${server.name} was revoked at ${options.site.self.name}`, 'enrol again with a new token'),
      clientKeyId,
    };
  }
  const fence = await asRefusal(async () => {
    await refuseReturning(options.site.db);
    return ANONYMOUS;
  });
  if (fence.refusal !== undefined) return { ...fence, clientKeyId };
  const now = options.site.now();
  if (!options.ignoreDates && (now < Date.parse(certificate.validFrom) || now > Date.parse(certificate.validTo))) {
    return {
      ...refuse('expired', `the client certificate of server ${server.name} is not valid now`, 'check the clock; serve renews it'),
      clientKeyId,
    };
  }
  const isContentOnly = server.isContentOnly ? { isContentOnly: true } : {};
  return { identity: { kind: 'server', serverId: server.id, ...isContentOnly }, clientKeyId };
}

/** The certificate of the TLS peer. The handshake proved that it holds the key; nothing else is proved. */
function peerCertificate(socket: Socket): X509Certificate | undefined {
  return socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
}

function isIssuedByUs(certificate: X509Certificate, caPem: string): boolean {
  const ca = new X509Certificate(caPem);
  return certificate.checkIssued(ca) && certificate.verify(ca.publicKey) && (certificate.keyUsage?.includes(CLIENT_AUTH) ?? false);
}

function refuse(code: 'revoked' | 'denied' | 'expired', message: string, hint: string) {
  return { identity: ANONYMOUS, refusal: new AppError(code, message, { hint }) };
}
