import { createHash, randomBytes } from 'node:crypto';
import { AppError } from '../../core/errors.ts';
import { type Digest, digestFromBytes } from '../../core/ids.ts';
import { noteTokenUse, type OperatorToken } from '../db/operator-tokens.ts';
import type { Site } from '../site.ts';

/** When a token was used last is kept to the minute: not every request is a write. */
const NOTED_FOR_MS = 60_000;

/** The text of a new operator's token: 256 random bits. */
export function newTokenText(): string {
  return `wst_${randomBytes(32).toString('base64url')}`;
}

/** The hash under which a token is stored: of a random 256-bit text, so plain SHA-256 is enough and its lookup leaks nothing useful. */
export function hashToken(token: string): Digest {
  return digestFromBytes(createHash('sha256').update(token).digest());
}

/** What an operator's token must be to count. Errors: `token_wrong`, `token_expired`. */
export function requireToken<Token extends Pick<OperatorToken, 'expiresAt' | 'revokedAt'>>(token: Token | undefined, now: number): Token {
  if (token === undefined) {
    throw new AppError('token_wrong', 'this server does not know the operator token', { hint: 'check WAYSTATION_TOKEN or the token file' });
  }
  if (token.revokedAt !== null) {
    throw new AppError('token_wrong', 'the operator token was revoked', { hint: 'ask an administrator for a new one' });
  }
  if (token.expiresAt !== null && token.expiresAt <= now) {
    const hint = 'ask an administrator for a new one';
    throw new AppError('token_expired', `the operator token expired at ${new Date(token.expiresAt).toISOString()}`, { hint });
  }
  return token;
}

/** Notes that a token that counts was used now. That it cannot be noted refuses nobody. */
export async function noteUse(site: Pick<Site, 'db' | 'now' | 'log'>, token: Pick<OperatorToken, 'id' | 'lastUsedAt'>): Promise<void> {
  const now = site.now();
  const since = now - NOTED_FOR_MS;
  // After a clock that had been ahead, too.
  if (token.lastUsedAt !== null && token.lastUsedAt > since && token.lastUsedAt <= now) return;
  try {
    await noteTokenUse(site.db, token.id, now);
  } catch (error) {
    site.log.debug('the use of an operator token is not noted', { token: token.id, error: String(error) });
  }
}
