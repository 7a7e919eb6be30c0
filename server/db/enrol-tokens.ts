import type { Knex } from 'knex';
import type { Digest, Id, Name } from '../../core/ids.ts';

/** A one-time token for another server's enrolment. Only its hash is kept. */
export type EnrolTokenRow = {
  readonly id: Id;
  /** The only name it may be used for, or null. */
  readonly name: Name | null;
  readonly expiresAt: number;
  readonly usedAt: number | null;
  readonly usedBy: Id | null;
};

type Row = {
  id: Id;
  hash: Digest;
  name: Name | null;
  created_at: number;
  expires_at: number | string;
  used_at: number | string | null;
  used_by: Id | null;
};

export async function createEnrolTokenRow(
  db: Knex,
  token: { id: Id; hash: Digest; name: Name | null; createdAt: number; expiresAt: number },
): Promise<void> {
  const { id, hash, name, createdAt, expiresAt } = token;
  await db<Row>('enrol_tokens').insert({ id, hash, name, created_at: createdAt, expires_at: expiresAt, used_at: null, used_by: null });
}

export async function findEnrolToken(db: Knex, hash: Digest): Promise<EnrolTokenRow | undefined> {
  const row = await db<Row>('enrol_tokens').where({ hash }).first();
  if (!row) return undefined;
  return {
    id: row.id,
    name: row.name,
    expiresAt: Number(row.expires_at),
    usedAt: row.used_at === null ? null : Number(row.used_at),
    usedBy: row.used_by,
  };
}

/** Marks the token as used by a server. Returns false when somebody was faster: the caller must give nothing out. */
export async function useEnrolToken(db: Knex, id: Id, serverId: Id, now: number): Promise<boolean> {
  const changed = await db<Row>('enrol_tokens').where({ id }).whereNull('used_at').update({ used_at: now, used_by: serverId });
  return changed === 1;
}

/** Ends every token that was not used yet. Returns how many. */
export async function expireEnrolTokens(trx: Knex, now: number): Promise<number> {
  return trx<Row>('enrol_tokens').whereNull('used_at').where('expires_at', '>', now).update({ expires_at: now });
}
