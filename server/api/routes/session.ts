import { z } from 'zod';
import { AppError } from '../../../core/errors.ts';
import { listOperatorTokens } from '../../db/operator-tokens.ts';
import type { Site } from '../../site.ts';
import { Reply, type Route, type RouteContext, route } from '../route.ts';
import { findByCookie, requireOwnPage, type SessionView, signIn, signOut, viewSession } from '../session.ts';

const Session = z.object({ name: z.string(), role: z.string(), server: z.string(), expiresAt: z.iso.datetime().nullable() });

/** Signing in to the console and out of it (../session.ts). Wrong tokens are counted and slowed down as everywhere. */
export const SESSION_ROUTES: readonly Route[] = [
  route({
    method: 'POST',
    path: '/api/v1/session',
    listener: 'api',
    // Open to everybody: the token in the body is the proof.
    action: 'session.create',
    summary: "Exchange an operator's token for the console's cookie",
    input: z.strictObject({ token: z.string().max(512) }),
    output: Session,
    handle: async ({ site, headers }, { token }) => {
      if (headers.origin !== undefined) requireOwnPage('POST', headers);
      const { view, cookie } = await signIn(site, token.trim());
      return json(view, cookie);
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/session',
    listener: 'api',
    action: 'session.use',
    summary: 'Who asks, with which role, until when',
    output: Session,
    handle: whoAsks,
  }),
  route({
    method: 'DELETE',
    path: '/api/v1/session',
    listener: 'api',
    action: 'session.use',
    summary: 'Sign out: the cookie counts no more',
    handle: async ({ site, headers }) => new Reply(204, undefined, { 'set-cookie': await signOut(site, headers) }),
  }),
];

async function whoAsks({ site, identity, headers }: RouteContext): Promise<SessionView> {
  if (identity.kind === 'local-admin') return { name: identity.kind, role: 'administrator', server: site.self.name, expiresAt: null };
  if (identity.kind !== 'operator') throw new AppError('not_permitted', 'only operators sign in');
  const session = await findByCookie(site, headers);
  if (session?.token.id === identity.tokenId) return viewSession(site, session.token, session.expiresAt);
  return viewToken(site, identity.tokenId);
}

/** For who shows the token itself. */
async function viewToken(site: Site, id: string): Promise<SessionView> {
  const token = (await listOperatorTokens(site.db)).find((one) => one.id === id);
  if (token === undefined) throw new AppError('not_found', 'the operator token is gone');
  return viewSession(site, token, token.expiresAt);
}

function json(value: unknown, cookie: string): Reply {
  const body = JSON.stringify(value);
  const headers = { 'content-type': 'application/json', 'cache-control': 'no-store', 'set-cookie': cookie };
  return new Reply(200, body, { ...headers, 'content-length': String(Buffer.byteLength(body)) });
}
