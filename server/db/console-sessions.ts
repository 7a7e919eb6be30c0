import type { Knex } from 'knex';
import type { OperatorRole } from '../../core/authorise.ts';
import type { Digest, Id } from '../../core/ids.ts';

/** A browser that is signed in, with what is true now of the operator's token that it was opened with. */
export type ConsoleSession = {
  readonly id: Id;
  readonly expiresAt: number;
  readonly token: {
    readonly id: Id;
    readonly name: string;
    readonly role: OperatorRole;
    readonly expiresAt: number | null;
    readonly revokedAt: number | null;
    readonly lastUsedAt: number | null;
  };
};

export type NewConsoleSession = {
  readonly id: Id;
  readonly hash: Digest;
  readonly tokenId: Id;
  readonly createdAt: number;
  readonly expiresAt: number;
};

/** Adds a session. Of one token at most `most` are kept, the newest; those that expired go. */
export async function createConsoleSession(trx: Knex, session: NewConsoleSession, most: number): Promise<void> {
  await trx('console_sessions').where('expires_at', '<=', session.createdAt).delete();
  const others = await trx('console_sessions').where({ token_id: session.tokenId }).orderBy('id', 'desc').pluck('id');
  const excess = others.slice(most - 1);
  if (excess.length > 0) await trx('console_sessions').whereIn('id', excess).delete();
  await trx('console_sessions').insert({
    id: session.id,
    hash: session.hash,
    token_id: session.tokenId,
    created_at: session.createdAt,
    expires_at: session.expiresAt,
  });
}

/** The session of that cookie; whether it and its token still count is the caller's to judge. */
export async function findConsoleSession(db: Knex, hash: Digest): Promise<ConsoleSession | undefined> {
  const row = await db('console_sessions')
    .join('operator_tokens', 'operator_tokens.id', 'console_sessions.token_id')
    .where('console_sessions.hash', hash)
    .first({
      id: 'console_sessions.id',
      expires_at: 'console_sessions.expires_at',
      token_id: 'operator_tokens.id',
      name: 'operator_tokens.name',
      role: 'operator_tokens.role',
      token_expires_at: 'operator_tokens.expires_at',
      token_revoked_at: 'operator_tokens.revoked_at',
      last_used_at: 'operator_tokens.last_used_at',
    });
  if (row === undefined) return undefined;
  const { token_id: id, name, role } = row;
  const times = { revokedAt: numberOrNull(row.token_revoked_at), lastUsedAt: numberOrNull(row.last_used_at) };
  const token = { id, name, role, expiresAt: numberOrNull(row.token_expires_at), ...times };
  return { id: row.id, expiresAt: Number(row.expires_at), token };
}

/** Returns false when it was gone already. */
export async function deleteConsoleSession(db: Knex, id: Id): Promise<boolean> {
  return (await db('console_sessions').where({ id }).delete()) === 1;
}

/** Ends the sessions of a token; gives how many there were. */
export async function deleteConsoleSessionsOf(db: Knex, tokenId: Id): Promise<number> {
  return db('console_sessions').where({ token_id: tokenId }).delete();
}

function numberOrNull(value: unknown): number | null {
  return value === null || value === undefined ? null : Number(value);
}
