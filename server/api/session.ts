import { randomBytes } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { OperatorRole } from '../../core/authorise.ts';
import { AppError } from '../../core/errors.ts';
import { type Id, newId } from '../../core/ids.ts';
import { type ConsoleSession, createConsoleSession, deleteConsoleSession, findConsoleSession } from '../db/console-sessions.ts';
import { appendEvent } from '../db/events.ts';
import { inTransaction } from '../db/open.ts';
import { findOperatorToken, type OperatorToken } from '../db/operator-tokens.ts';
import type { Site } from '../site.ts';
import { hashToken, requireToken } from './token.ts';

/*
 * How a browser is an operator. The token is shown once, in the body of a POST, and exchanged for a cookie that scripts cannot
 * read and that no other site makes a browser send. Only the cookie's hash is kept here. It counts as long as the token does and
 * eight hours at most, and never more than the token: role, expiry and revocation are read anew with every request.
 */
const LIFETIME_MS = 8 * 3_600_000;
/** Of one token: more browsers than that are a script that forgets its cookie. */
const MOST_SESSIONS = 20;
const SAFE_METHODS: readonly string[] = ['GET', 'HEAD'];

/** Who is signed in, in the words of the API. */
export type SessionView = {
  readonly name: string;
  readonly role: OperatorRole;
  readonly server: string;
  readonly expiresAt: string | null;
};

/** Browsers keep cookies per host, not per port: servers on one machine must not overwrite each other's. */
export function cookieName(serverId: Id): string {
  return `__Host-waystation-${serverId.slice(-12)}`;
}

/** Exchanges an operator's token for a cookie. Errors: `token_wrong`, `token_expired`. */
export async function signIn(site: Site, text: string): Promise<{ readonly view: SessionView; readonly cookie: string }> {
  const now = site.now();
  const found = /^wst_[A-Za-z0-9_-]{16,256}$/.test(text) ? await findOperatorToken(site.db, hashToken(text)) : undefined;
  const token = requireTyped(found, now);
  const value = randomBytes(32).toString('base64url');
  const expiresAt = Math.min(now + LIFETIME_MS, token.expiresAt ?? Number.POSITIVE_INFINITY);
  const session = { id: newId(now), hash: hashToken(value), tokenId: token.id, createdAt: now, expiresAt };
  await inTransaction(site.db, async (trx) => {
    await createConsoleSession(trx, session, MOST_SESSIONS);
    const event = { kind: 'console.signed-in', subject: token.id, data: { name: token.name, session: session.id } };
    await appendEvent(trx, { origin: site.self.id, at: now, actor: `operator:${token.id}`, ...event });
  });
  const cookie = cookieText(site, value, Math.floor((expiresAt - now) / 1000));
  return { view: viewSession(site, token, expiresAt), cookie };
}

/** As `requireToken`, with what helps somebody in front of a browser. */
function requireTyped(found: OperatorToken | undefined, now: number): OperatorToken {
  if (found !== undefined) return requireToken(found, now);
  throw new AppError('token_wrong', 'this server does not know the operator token', {
    hint: 'paste it whole, from wst_ on; tokens are of one server, and administrators make new ones: waystation token create NAME',
  });
}

/** Ends the session of this request's cookie, if there is one, and gives the header that takes the cookie away. */
export async function signOut(site: Site, headers: IncomingHttpHeaders): Promise<string> {
  const session = await findByCookie(site, headers);
  if (session !== undefined) {
    await inTransaction(site.db, async (trx) => {
      if (!(await deleteConsoleSession(trx, session.id))) return;
      const event = { kind: 'console.signed-out', subject: session.token.id, data: { name: session.token.name, session: session.id } };
      await appendEvent(trx, { origin: site.self.id, at: site.now(), actor: `operator:${session.token.id}`, ...event });
    });
  }
  return cookieText(site, '', 0);
}

/** The session of this request's cookie, whether or not it still counts; undefined without one. */
export async function findByCookie(site: Site, headers: IncomingHttpHeaders): Promise<ConsoleSession | undefined> {
  const value = readCookie(headers.cookie, cookieName(site.self.id));
  return value === undefined ? undefined : findConsoleSession(site.db, hashToken(value));
}

/** Whether this request shows a cookie of ours at all. */
export function hasCookie(site: Site, headers: IncomingHttpHeaders): boolean {
  return readCookie(headers.cookie, cookieName(site.self.id)) !== undefined;
}

/** The session, when it and its token count now. Errors: `token_wrong`, `token_expired`. */
export function requireSession(session: ConsoleSession | undefined, now: number): ConsoleSession {
  if (session === undefined) throw new AppError('token_wrong', 'you are not signed in any more', { hint: 'sign in again' });
  requireToken(session.token, now);
  if (session.expiresAt <= now) throw new AppError('token_expired', 'you were signed in for eight hours', { hint: 'sign in again' });
  return session;
}

/**
 * Refuses what another page made the browser send. SameSite=Strict keeps other sites out; a page on another port of this very
 * host counts as the same site, and only its Origin tells it apart. Errors: `denied`.
 */
export function requireOwnPage(method: string | undefined, headers: IncomingHttpHeaders): void {
  if (SAFE_METHODS.includes(method ?? '')) return;
  if (headers.origin !== undefined && headers.origin.toLowerCase() === `https://${headers.host?.toLowerCase()}`) return;
  throw new AppError('denied', 'the request does not come from a page of this server', { hint: 'open the console and try again there' });
}

export function viewSession(site: Site, token: Pick<OperatorToken, 'name' | 'role'>, expiresAt: number | null): SessionView {
  const until = expiresAt === null ? null : new Date(expiresAt).toISOString();
  return { name: token.name, role: token.role, server: site.self.name, expiresAt: until };
}

function readCookie(header: string | undefined, name: string): string | undefined {
  const pairs = (header ?? '').split(';').map((pair) => pair.trim());
  const value = pairs.find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1);
  return value === undefined || !/^[A-Za-z0-9_-]{43}$/.test(value) ? undefined : value;
}

function cookieText(site: Site, value: string, seconds: number): string {
  return `${cookieName(site.self.id)}=${value}; Path=/; Max-Age=${seconds}; Secure; HttpOnly; SameSite=Strict`;
}
