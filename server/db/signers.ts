import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import type { Digest, Id } from '../../core/ids.ts';
import { SignerRecord } from '../../core/sync-protocol.ts';

type Row = { key_id: string; server_id: string; record: string; created_at: number };

/**
 * Keeps a signer that was verified (server/trust/signatures.ts `verifySigner`). Repeating it is harmless. A key belongs to
 * the server that showed it first: any CA can vouch for any public key, so throws `bad_signature` for one of another server.
 */
export async function saveSigner(db: Knex, record: SignerRecord, now: number): Promise<void> {
  const held = await db<Row>('signers').where({ key_id: record.keyId }).first('server_id');
  if (held !== undefined && held.server_id !== record.serverId) {
    throw new AppError('bad_signature', `signing key ${record.keyId} belongs to another server than ${record.serverId}`, {
      hint: 'a server that was copied with its keys must be made anew with init',
    });
  }
  const row = { key_id: record.keyId, server_id: record.serverId, record: JSON.stringify(record), created_at: now };
  await db<Row>('signers').insert(row).onConflict('key_id').merge(['record']);
}

export async function getSigner(db: Knex, keyId: Digest): Promise<SignerRecord | undefined> {
  const row = await db<Row>('signers').where({ key_id: keyId }).first();
  return row && SignerRecord.parse(JSON.parse(row.record));
}

/** The signers of one server, or of all servers, oldest first. */
export async function listSigners(db: Knex, serverId?: Id): Promise<readonly SignerRecord[]> {
  const find = db<Row>('signers').orderBy('created_at').orderBy('key_id');
  if (serverId !== undefined) find.where({ server_id: serverId });
  return (await find).map((row) => SignerRecord.parse(JSON.parse(row.record)));
}
