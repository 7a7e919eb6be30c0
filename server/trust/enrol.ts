import { X509Certificate } from 'node:crypto';
import type { Knex } from 'knex';
import type { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import { type Digest, type Name, parseId } from '../../core/ids.ts';
import { spkiDigest } from '../../core/pin.ts';
import { type Ancestor, type EnrolAnswer, type EnrolRequest, type SignerRecord, SYNC_PROTOCOL } from '../../core/sync-protocol.ts';
import { hashToken } from '../api/token.ts';
import { type EnrolTokenRow, findEnrolToken, useEnrolToken } from '../db/enrol-tokens.ts';
import { appendEvent } from '../db/events.ts';
import { listLinks } from '../db/links.ts';
import { inTransaction, isUniqueViolation } from '../db/open.ts';
import { createServer, findServerByName, getServer, type KnownServer, updateServer } from '../db/servers.ts';
import { saveSigner } from '../db/signers.ts';
import { applyRingWish } from '../holdings/ring-wish.ts';
import { aboveUs } from '../replication/tier.ts';
import type { Site } from '../site.ts';
import { refuseReturning } from '../succession/fence.ts';
import { aboveItself, listLineage, refuseCycle } from './endorse.ts';
import { verifySigner } from './signatures.ts';

type Request = z.infer<typeof EnrolRequest>;

/**
 * The parent's side of an enrolment: one token makes one child. Token, name and row change in one transaction, so of
 * any number of redeems at the same time exactly one gets a certificate.
 *
 * Errors: `version_mismatch`, `token_wrong`, `token_expired` (also: used), `name_taken`, `bad_data` (request), `bad_signature` (signer),
 * `wrong_state` (the child is above us), `fenced`.
 */
export async function enrolChild(site: Site, request: Request): Promise<z.infer<typeof EnrolAnswer>> {
  if (request.protocol !== SYNC_PROTOCOL) throw otherProtocol(request.protocol);
  // A look before the work: a stranger must not make us sign certificates.
  await readToken(site, site.db, request);
  return admitChild(site, request, async (trx, child) => {
    const token = await readToken(site, trx, request);
    return async () => {
      if (!(await useEnrolToken(trx, token.id, child.id, site.now()))) throw usedToken();
    };
  });
}

/** What gives a child the right to be one: read first, and used up when nothing else is in its way. Throws when it is none. */
type Permit = (trx: Knex.Transaction, child: KnownServer) => Promise<() => Promise<void>>;

/** The enrolment of a child whose right to it `permit` looks at. Errors: as `enrolChild`, and those of `permit`. */
export async function admitChild(site: Site, request: Omit<Request, 'token'>, permit: Permit): Promise<z.infer<typeof EnrolAnswer>> {
  if (request.protocol !== SYNC_PROTOCOL) throw otherProtocol(request.protocol);
  await refuseReturning(site.db);
  const child = readChild(site, request);
  const ancestors = await listLineage(site);
  // Content may come from anywhere, also from below: only who is told what exists must not stand above who tells.
  if (!child.isContentOnly) await refuseAncestor(site, ancestors, child.id);
  const issued = await site.keys.issueClientCertificate(request.csr, child.id, site.now());
  await redeemDecided(site, { request, child: { ...child, certificateKeyId: issued.keyId }, permit });
  site.log.info('server enrolled', { server: child.id, name: child.name });
  return {
    protocol: SYNC_PROTOCOL,
    serverId: site.self.id,
    name: site.self.name,
    certificate: issued.pem,
    ca: site.keys.caPem,
    signer: site.keys.signer,
    ...(ancestors.length === 0 ? {} : { ancestors }),
  };
}

async function refuseAncestor(site: Site, ancestors: readonly Ancestor[], childId: KnownServer['id']): Promise<void> {
  refuseCycle(ancestors, childId);
  const [link] = await listLinks(site.db);
  if (link !== undefined && aboveUs(link).includes(childId)) throw aboveItself(childId);
}

/** Two that want one name both find it free; the second to insert looks again and is told. */
async function redeemDecided(site: Site, admitted: Admitted): Promise<void> {
  const attempt = () => inTransaction(site.db, (trx) => redeem(site, trx, admitted));
  try {
    await attempt();
  } catch (error) {
    if (!isUniqueViolation(error)) throw error;
    await attempt();
  }
}

type Admitted = { readonly request: Omit<Request, 'token'>; readonly child: KnownServer; readonly permit: Permit };

async function redeem(site: Site, trx: Knex.Transaction, { request, child, permit }: Admitted): Promise<void> {
  const use = await permit(trx, child);
  const known = await getServer(trx, child.id);
  checkIdentity(known, child);
  if (child.isContentOnly && known?.relation === 'child' && !known.isContentOnly && known.state === 'active') throw childAlready(known);
  const holder = await findServerByName(trx, child.name);
  if (holder && holder.id !== child.id)
    throw nameTaken(`the name ${child.name} belongs to another server here`, 'choose another with init --name');
  await use();
  if (known) await updateServer(trx, child);
  else await createServer(trx, child, site.self.id);
  await applyRingWish(trx, child.id);
  await saveSigner(trx, request.signer, site.now());
  await appendEvent(trx, {
    origin: site.self.id,
    at: site.now(),
    actor: `server:${child.id}`,
    kind: 'server.enrolled',
    subject: child.id,
    data: { name: child.name, again: known !== undefined },
  });
}

async function readToken(site: Site, db: Knex, request: Request): Promise<EnrolTokenRow> {
  const token = await findEnrolToken(db, hashToken(request.token));
  if (!token)
    throw new AppError('token_wrong', 'this server did not issue the enrolment token', { hint: 'check the address and the token' });
  if (token.usedAt !== null) throw usedToken();
  if (token.expiresAt <= site.now()) {
    const at = new Date(token.expiresAt).toISOString();
    throw new AppError('token_expired', `the enrolment token expired at ${at}`, { hint: 'get a new one: waystation server token' });
  }
  if (token.name !== null && token.name !== request.name) {
    throw new AppError('token_wrong', `the enrolment token is for a server called ${token.name}, not ${request.name}`, {
      hint: 'get a token for this name, or one without a name',
    });
  }
  return token;
}

/** The child as the request describes it; its signer must be vouched for by the CA that it shows. */
function readChild(site: Site, request: Omit<Request, 'token'>): KnownServer {
  const id = parseId(request.serverId);
  if (request.signer.serverId !== id) throw new AppError('bad_signature', 'the signer in the request belongs to another server');
  const caPin = pinOf(request.signer);
  verifySigner(request.signer, caPin);
  if (request.signer.keyId === site.keys.signerKeyId)
    throw new AppError('bad_signature', 'the signer in the request is that of this server');
  return {
    id,
    name: request.name as Name,
    relation: 'child',
    state: 'active',
    url: null,
    caPin,
    ca: request.signer.ca,
    certificateKeyId: null,
    signerKeyId: request.signer.keyId as Digest,
    createdAt: site.now(),
    seenAt: site.now(),
    isContentOnly: request.purpose === 'content',
  };
}

/** A token must not be a way to take the place of ourselves, of our parent, or of a child with other keys. */
function checkIdentity(known: KnownServer | undefined, child: KnownServer): void {
  if (!known) return;
  if (known.relation === 'self') throw new AppError('usage', 'a server cannot join itself', { hint: 'use the URL of the parent' });
  if (known.relation === 'parent') {
    throw new AppError('wrong_state', `server ${known.name} is our parent and cannot be our child`, { hint: 'servers form a tree' });
  }
  if (known.state === 'active' && known.caPin !== child.caPin) {
    throw nameTaken(
      `server ${known.name} (${known.id}) enrolled with other keys`,
      `if it was rebuilt: waystation server revoke ${known.name}, then join again`,
    );
  }
}

function childAlready(known: KnownServer): AppError {
  return new AppError('wrong_state', `server ${known.name} is a child of this server and gets its content so`, {
    hint: 'name a further server as a source',
  });
}

function pinOf(signer: SignerRecord): Digest {
  try {
    return spkiDigest(new X509Certificate(signer.ca).publicKey);
  } catch (cause) {
    throw new AppError('bad_data', 'the CA certificate in the request cannot be read', { cause });
  }
}

export function otherProtocol(theirs: number): AppError {
  return new AppError('version_mismatch', `the other server speaks sync protocol ${theirs}, this one ${SYNC_PROTOCOL}`, {
    hint: 'update the older of the two',
  });
}

function nameTaken(message: string, hint: string): AppError {
  return new AppError('name_taken', message, { hint });
}

function usedToken(): AppError {
  return new AppError('token_expired', 'the enrolment token was used before', { hint: 'get a new one: waystation server token' });
}
