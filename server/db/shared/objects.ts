import type { Knex } from 'knex';
import type { Envelope } from '../../../core/envelope.ts';
import type { Digest, Id } from '../../../core/ids.ts';
import { SignerRecord } from '../../../core/sync-protocol.ts';
import { boundedText, MOST_NUMBER, readDocumentText } from './documents.ts';
import { chunks, type Page } from './reports.ts';
import { listSharedSuccessions, type SharedSuccession } from './successions.ts';

/** A signed object under the number that its origin gave to its last change. */
export type Numbered = { readonly envelope: Envelope; readonly seq: number };

/**
 * Tells objects of one origin, each in place of an older revision of itself. An id that is another origin's is left alone, unless that one's
 * place was taken by this one.
 */
export async function putSharedObjects(trx: Knex.Transaction, origin: Id, objects: readonly Numbered[]): Promise<void> {
  for (const some of chunks(objects)) {
    const ids = some.map(({ envelope }) => envelope.id);
    const others: { id: Id; origin: Id }[] = await trx('shared_objects').whereIn('id', ids).whereNot({ origin }).select('id', 'origin');
    const taken = others.length === 0 ? new Set<Id>() : placesTaken(origin, await listSharedSuccessions(trx));
    const foreign = others.filter((one) => !taken.has(one.origin)).map(({ id }) => id);
    const rows = some.filter(({ envelope }) => !foreign.includes(envelope.id)).map(toRow);
    if (rows.length > 0) await trx('shared_objects').insert(rows).onConflict('id').merge();
  }
}

/** The servers whose place this one took, and those whose place they had taken. */
function placesTaken(origin: Id, all: readonly SharedSuccession[]): Set<Id> {
  const taken = new Set<Id>();
  const open = [origin];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const before = all.filter(({ successor, predecessor }) => successor === at && !taken.has(predecessor));
    for (const { predecessor } of before) taken.add(predecessor);
    open.push(...before.map(({ predecessor }) => predecessor));
  }
  return taken;
}

/**
 * Objects of one origin, tombstones included, changed after number `after`, in the order of the changes: one statement. One whose body cannot
 * be read comes without it, and so is not the one that was signed.
 */
export async function listSharedObjects(db: Knex, origin: Id, { after, limit }: Page): Promise<Numbered[]> {
  const rows: Row[] = await db('shared_objects')
    .where({ origin })
    .where('seq', '>', after)
    .where('seq', '<=', MOST_NUMBER)
    .orderBy('seq')
    .limit(limit)
    .select('id', 'kind', 'origin', 'revision', 'digest', 'key_id', 'signature', 'seq', boundedText(db, 'body'));
  return rows.map(fromRow);
}

/** Tells the signing keys of a server; repeating it is harmless. */
export async function putSharedSigners(db: Knex, records: readonly SignerRecord[]): Promise<void> {
  const rows = records.map((record) => ({ key_id: record.keyId, server_id: record.serverId, record: JSON.stringify(record) }));
  for (const some of chunks(rows)) await db('shared_signers').insert(some).onConflict('key_id').merge(['server_id', 'record']);
}

/** More than a server ever has. */
const MOST_SIGNERS = 200;

/** The signing keys that a server told; what cannot be read is left out. */
export async function listSharedSigners(db: Knex, serverId: Id): Promise<SignerRecord[]> {
  const rows: { record: string }[] = await db('shared_signers').where({ server_id: serverId }).limit(MOST_SIGNERS).select('record');
  return rows.map(({ record }) => SignerRecord.safeParse(readDocumentText(record)).data).filter((record) => record !== undefined);
}

function toRow({ envelope, seq }: Numbered) {
  const { id, kind, origin, revision, body, digest, keyId, signature } = envelope;
  return { id, kind, origin, revision, body: JSON.stringify(body), digest, key_id: keyId, signature, deleted: body === null ? 1 : 0, seq };
}

type Row = Pick<Envelope, 'kind' | 'id' | 'origin' | 'signature'> & {
  revision: number;
  body: string | null;
  digest: Digest;
  key_id: Digest;
  seq: number | string;
};

function fromRow(row: Row): Numbered {
  const { kind, id, origin, signature } = row;
  const signed = { digest: row.digest, keyId: row.key_id, signature };
  return {
    envelope: { kind, id, origin, revision: Number(row.revision), body: readDocumentText(row.body) ?? null, ...signed },
    seq: Number(row.seq),
  };
}
