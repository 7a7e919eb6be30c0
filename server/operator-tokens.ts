import type { OperatorRole } from '../core/authorise.ts';
import { AppError } from '../core/errors.ts';
import { type Id, type Name, newId, printable } from '../core/ids.ts';
import { hashToken, newTokenText } from './api/token.ts';
import { deleteConsoleSessionsOf } from './db/console-sessions.ts';
import { appendEvent } from './db/events.ts';
import { inTransaction } from './db/open.ts';
import { createOperatorToken, listOperatorTokens, type OperatorToken, revokeOperatorToken } from './db/operator-tokens.ts';
import type { Site } from './site.ts';

export type WantedToken = {
  readonly name: Name;
  readonly role: OperatorRole;
  /** Null: until it is revoked. */
  readonly ttlMs: number | null;
};

/**
 * Makes an operator's token. Its text is in the answer and nowhere else: kept is its hash. Throws `name_taken` when one of that
 * name is in force.
 */
export async function issueOperatorToken(
  site: Site,
  { name, role, ttlMs }: WantedToken,
  actor: string,
): Promise<{ readonly token: OperatorToken; readonly text: string }> {
  const text = newTokenText();
  const createdAt = site.now();
  const expiresAt = ttlMs === null ? null : createdAt + ttlMs;
  const token = { id: newId(createdAt), name, hash: hashToken(text), role, createdAt, expiresAt };
  await inTransaction(site.db, async (trx) => {
    const others = await listOperatorTokens(trx);
    if (others.some((other) => other.name === name && isInForce(other, createdAt)))
      throw new AppError('name_taken', `an operator token called "${name}" is in force`, {
        hint: `choose another name, or first: waystation token revoke ${name}`,
      });
    await createOperatorToken(trx, token);
    const event = { kind: 'token.created', subject: token.id, data: { name, role, expiresAt } };
    await appendEvent(trx, { origin: site.self.id, at: createdAt, actor, ...event });
  });
  site.wake.notify('events');
  return { token: { ...token, revokedAt: null, lastUsedAt: null }, text };
}

/**
 * Takes a token's rights away at once, and signs out who came in with it. Of one name the token in force is meant. Repeating it
 * is harmless. Throws `not_found`.
 */
export async function takeOperatorToken(site: Site, reference: string, actor: string): Promise<OperatorToken> {
  const token = await findToken(site, reference);
  if (token.revokedAt !== null) return token;
  const revokedAt = site.now();
  await inTransaction(site.db, async (trx) => {
    if (!(await revokeOperatorToken(trx, token.id, revokedAt))) return;
    const sessions = await deleteConsoleSessionsOf(trx, token.id);
    const event = { kind: 'token.revoked', subject: token.id, data: { name: token.name, sessions } };
    await appendEvent(trx, { origin: site.self.id, at: revokedAt, actor, ...event });
  });
  site.wake.notify('events');
  return { ...token, revokedAt };
}

async function findToken(site: Site, reference: string): Promise<OperatorToken> {
  const all = await listOperatorTokens(site.db);
  const now = site.now();
  const named = all.filter(({ name }) => name === reference);
  const found = all.find(({ id }) => id === (reference as Id)) ?? named.find((token) => isInForce(token, now)) ?? named.at(-1);
  if (found !== undefined) return found;
  throw new AppError('not_found', `no operator token is called "${printable(reference)}"`, { hint: 'waystation token list' });
}

/** Whether it counts at `now` (epoch ms). */
export function isInForce({ revokedAt, expiresAt }: Pick<OperatorToken, 'revokedAt' | 'expiresAt'>, now: number): boolean {
  return revokedAt === null && (expiresAt === null || expiresAt > now);
}
