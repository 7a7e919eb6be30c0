import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import { type Digest, newId, parseName } from '../../core/ids.ts';
import { hashToken } from '../api/identity.ts';
import { createEnrolTokenRow } from '../db/enrol-tokens.ts';
import type { Site } from '../site.ts';

const PREFIX = 'wse_';
const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const Content = z.object({ v: z.literal(1), secret: z.string().min(16).max(128), caPin: digest, signerKeyId: digest });

/** What an enrolment token tells its holder: whom to trust, before the first octet is sent. */
export type EnrolToken = { readonly text: string; readonly caPin: Digest; readonly signerKeyId: Digest };

const DEFAULT_TTL_MS = 24 * 3_600_000;

/**
 * Makes a one-time token for another server's enrolment; only its hash stays here. `name`, when given, is the only
 * name it may be used for. The text is `wse_` and base64url of {v, secret, caPin, signerKeyId}.
 */
export async function issueEnrolToken(site: Site, options: { readonly name?: string; readonly ttlMs?: number } = {}) {
  const content = { v: 1, secret: randomBytes(32).toString('base64url'), caPin: site.keys.caPin, signerKeyId: site.keys.signerKeyId };
  const token = PREFIX + Buffer.from(JSON.stringify(content)).toString('base64url');
  const now = site.now();
  const expiresAt = now + (options.ttlMs ?? DEFAULT_TTL_MS);
  const name = options.name === undefined ? null : parseName(options.name);
  await createEnrolTokenRow(site.db, { id: newId(now), hash: hashToken(token), name, createdAt: now, expiresAt });
  return { token, expiresAt };
}

/** Reads a token's text. Throws `token_wrong` without repeating it: a mistyped token is still a secret. */
export function parseEnrolToken(text: string): EnrolToken {
  const trimmed = text.trim();
  try {
    if (!trimmed.startsWith(PREFIX)) throw new Error('no prefix');
    const content = Content.parse(JSON.parse(Buffer.from(trimmed.slice(PREFIX.length), 'base64url').toString('utf8')));
    return { text: trimmed, caPin: content.caPin as Digest, signerKeyId: content.signerKeyId as Digest };
  } catch {
    // The parser's own words would show parts of the token.
    throw new AppError('token_wrong', 'this is not an enrolment token', {
      hint: 'paste what "waystation server token" printed at the parent, starting with wse_',
    });
  }
}
