import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { digestOf } from '../../core/envelope.ts';
import { AppError } from '../../core/errors.ts';
import { type Digest, type Id, newId, parseName } from '../../core/ids.ts';
import { hashToken } from '../api/token.ts';
import { createEnrolTokenRow } from '../db/enrol-tokens.ts';
import { listSuccessions } from '../db/successions.ts';
import type { Site } from '../site.ts';
import { refuseFenced } from '../succession/fence.ts';
import { listLineage } from './endorse.ts';

const PREFIX = 'wse_';
const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const Content = z.object({
  v: z.literal(1),
  secret: z.string().min(16).max(128),
  caPin: digest,
  signerKeyId: digest,
  above: digest.optional(),
  succeeds: z
    .array(z.string().regex(/^[0-9a-f-]{36}$/))
    .max(32)
    .optional(),
});

/** What an enrolment token tells its holder: whom to trust, before the first octet is sent. */
export type EnrolToken = {
  readonly text: string;
  readonly caPin: Digest;
  readonly signerKeyId: Digest;
  readonly above: Digest | undefined;
  /** The servers whose place the one that made it has taken. */
  readonly succeeds: readonly Id[];
};

const DEFAULT_TTL_MS = 24 * 3_600_000;

/**
 * Makes a one-time token for another server's enrolment; only its hash stays here. `name`, when given, is the only
 * name it may be used for. The text is `wse_` and base64url of {v, secret, caPin, signerKeyId, above, succeeds}; `above` is the
 * digest of the list of servers above us (absent at the root): what a child pins of them does not depend on who answers it.
 */
export async function issueEnrolToken(site: Site, options: { readonly name?: string; readonly ttlMs?: number } = {}) {
  await refuseFenced(site.db);
  const { caPin, signerKeyId } = site.keys;
  const above = await listLineage(site);
  const root = above.length === 0 ? {} : { above: digestOf(above) };
  const succeeded = (await listSuccessions(site.db))
    .filter(({ successor }) => successor === site.self.id)
    .map(({ predecessor }) => predecessor);
  const succeeds = succeeded.length === 0 ? {} : { succeeds: succeeded.slice(-32) };
  const content = { v: 1, secret: randomBytes(32).toString('base64url'), caPin, signerKeyId, ...root, ...succeeds };
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
    const {
      caPin,
      signerKeyId,
      above,
      succeeds = [],
    } = content as unknown as Partial<EnrolToken> & Pick<EnrolToken, 'caPin' | 'signerKeyId'>;
    return { text: trimmed, caPin, signerKeyId, above, succeeds };
  } catch {
    // The parser's own words would show parts of the token.
    throw new AppError('token_wrong', 'this is not an enrolment token', {
      hint: 'paste what "waystation server token" printed at the parent, starting with wse_',
    });
  }
}
