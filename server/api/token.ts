import { createHash } from 'node:crypto';
import { AppError } from '../../core/errors.ts';
import { type Digest, digestFromBytes } from '../../core/ids.ts';
import type { OperatorToken } from '../db/operator-tokens.ts';

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
