import { z } from 'zod';
import { OPERATOR_ROLES } from '../../../core/authorise.ts';
import { NAME_RULE, type Name } from '../../../core/ids.ts';
import { isoTime } from '../../../core/iso-time.ts';
import { listOperatorTokens, type OperatorToken } from '../../db/operator-tokens.ts';
import { isInForce, issueOperatorToken, takeOperatorToken } from '../../operator-tokens.ts';
import type { Site } from '../../site.ts';
import { actorOf } from '../actor.ts';
import { type Route, route } from '../route.ts';

const TEN_YEARS_SECONDS = 3650 * 86_400;
const time = z.iso.datetime();

const Token = z.object({
  id: z.string(),
  name: z.string(),
  role: z.enum(OPERATOR_ROLES),
  state: z.enum(['active', 'expired', 'revoked']),
  createdAt: time,
  /** To the minute. */
  lastUsedAt: time.nullable(),
  expiresAt: time.nullable(),
  revokedAt: time.nullable(),
});
export type TokenView = z.infer<typeof Token>;
const MadeToken = Token.extend({ token: z.string() });
export type MadeTokenView = z.infer<typeof MadeToken>;

/** A token as the interface shows it: never its text, never its hash. */
export function viewToken(token: OperatorToken, now: number): TokenView {
  const { id, name, role, revokedAt } = token;
  const state = revokedAt !== null ? 'revoked' : isInForce(token, now) ? 'active' : 'expired';
  return {
    ...{ id, name, role, state, createdAt: isoTime(token.createdAt) },
    ...{ lastUsedAt: isoTime(token.lastUsedAt), expiresAt: isoTime(token.expiresAt), revokedAt: isoTime(revokedAt) },
  };
}

export async function viewTokens(site: Site): Promise<TokenView[]> {
  return (await listOperatorTokens(site.db)).map((token) => viewToken(token, site.now()));
}

type Wanted = { readonly name: string; readonly role: OperatorToken['role']; readonly ttlSeconds: number | null };

export async function makeToken(site: Site, { name, role, ttlSeconds }: Wanted, actor: string): Promise<MadeTokenView> {
  const ttlMs = ttlSeconds === null ? null : ttlSeconds * 1000;
  const { token, text } = await issueOperatorToken(site, { name: name as Name, role, ttlMs }, actor);
  return { ...viewToken(token, site.now()), token: text };
}

export async function revokeToken(site: Site, reference: string, actor: string): Promise<TokenView> {
  return viewToken(await takeOperatorToken(site, reference, actor), site.now());
}

/** What operators show to be operators. */
export const OPERATOR_TOKEN_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/operator-tokens',
    listener: 'api',
    action: 'operator-token.read',
    summary: 'Operator tokens, the oldest first: name, role, when made, used last, expired or revoked; never their text',
    output: z.object({ items: z.array(Token), next: z.null() }),
    handle: async ({ site }) => ({ items: await viewTokens(site), next: null }),
  }),
  route({
    method: 'POST',
    path: '/api/v1/operator-tokens',
    listener: 'api',
    action: 'operator-token.write',
    summary: 'Make an operator token; it is shown once',
    input: z.strictObject({
      name: z.string().regex(NAME_RULE.pattern, NAME_RULE.words),
      role: z.enum(OPERATOR_ROLES).default('viewer'),
      ttlSeconds: z.number().int().min(1).max(TEN_YEARS_SECONDS).nullable().default(null),
    }),
    output: MadeToken,
    handle: ({ site, identity }, wanted) => makeToken(site, wanted, actorOf(identity)),
  }),
  route({
    method: 'POST',
    path: '/api/v1/operator-tokens/:token/revoke',
    listener: 'api',
    action: 'operator-token.write',
    summary: 'Take the rights of an operator token away, by its name or id, and sign out who came in with it',
    output: Token,
    handle: ({ site, identity, params }) => revokeToken(site, params['token'] ?? '', actorOf(identity)),
  }),
];
