import type { Knex } from 'knex';
import type { OperatorRole } from '../../core/authorise.ts';
import type { Digest, Id } from '../../core/ids.ts';

/** An operator's token as it is kept: the SHA-256 of its text, never the text. */
export type OperatorToken = {
  readonly id: Id;
  readonly name: string;
  readonly hash: Digest;
  readonly role: OperatorRole;
  readonly createdAt: number;
  readonly expiresAt: number | null;
  readonly revokedAt: number | null;
  /** To the minute; null: never. */
  readonly lastUsedAt: number | null;
};

export async function createOperatorToken(db: Knex, token: Omit<OperatorToken, 'revokedAt' | 'lastUsedAt'>): Promise<void> {
  await db('operator_tokens').insert({
    id: token.id,
    name: token.name,
    hash: token.hash,
    role: token.role,
    created_at: token.createdAt,
    expires_at: token.expiresAt,
    revoked_at: null,
  });
}

/** The token with this hash, whatever its state: the caller judges expiry and revocation. */
export async function findOperatorToken(db: Knex, hash: Digest): Promise<OperatorToken | undefined> {
  const row = await db('operator_tokens').where({ hash }).first();
  return row === undefined ? undefined : fromRow(row);
}

export async function listOperatorTokens(db: Knex): Promise<readonly OperatorToken[]> {
  return (await db('operator_tokens').orderBy([{ column: 'created_at' }, { column: 'id' }])).map(fromRow);
}

/** False when there is no such token or it was revoked before. */
export async function revokeOperatorToken(db: Knex, id: Id, now: number): Promise<boolean> {
  return (await db('operator_tokens').where({ id, revoked_at: null }).update({ revoked_at: now })) === 1;
}

/** Notes when a token was used. */
export async function noteTokenUse(db: Knex, id: Id, now: number): Promise<void> {
  await db('operator_tokens').where({ id }).update({ last_used_at: now });
}

function fromRow(row: Record<string, unknown>): OperatorToken {
  return {
    id: row.id as Id,
    name: String(row.name),
    hash: row.hash as Digest,
    role: row.role as OperatorRole,
    createdAt: Number(row.created_at),
    expiresAt: numberOrNull(row.expires_at),
    revokedAt: numberOrNull(row.revoked_at),
    lastUsedAt: numberOrNull(row.last_used_at),
  };
}

function numberOrNull(value: unknown): number | null {
  return value === null || value === undefined ? null : Number(value);
}
