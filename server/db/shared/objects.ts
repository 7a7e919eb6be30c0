import type { Knex } from 'knex';
import type { Envelope, ObjectKind } from '../../../core/envelope.ts';
import type { Digest, Id } from '../../../core/ids.ts';
import { newestNumber, takeNumbers } from './counters.ts';

/** A signed object as it stands in the shared database; `mark` numbers the changes of all objects there. */
export type SharedObject = { readonly envelope: Envelope; readonly mark: number };

/**
 * Tells objects, each in place of an older revision of itself, and returns how many were news. One that is there in this
 * or a later revision stays as it is, so that telling twice is telling once.
 */
export async function putSharedObjects(trx: Knex.Transaction, envelopes: readonly Envelope[]): Promise<number> {
  const ids = envelopes.map(({ id }) => id);
  const rows = await trx('shared_objects').whereIn('id', ids).select('id', 'origin', 'revision').forUpdate();
  const there = new Map(rows.map((row) => [row.id as Id, row]));
  // An object has one origin for good: nobody takes it over by its id.
  const isNews = ({ id, origin, revision }: Envelope) => {
    const row = there.get(id);
    return row === undefined || (row.origin === origin && Number(row.revision) < revision);
  };
  const news = envelopes.filter(isNews);
  if (news.length === 0) return 0;
  let mark = await takeNumbers(trx, 'objects', news.length);
  for (const envelope of news) {
    const { id, ...row } = { ...toRow(envelope), mark: mark++ };
    const known = there.get(id);
    if (known === undefined) await trx('shared_objects').insert({ id, ...row });
    else await trx('shared_objects').where({ id, revision: known.revision }).update(row);
  }
  return news.length;
}

/** The newest mark; 0 when nothing was told yet. One row is read, however many objects there are. */
export function newestObjectMark(db: Knex): Promise<number> {
  return newestNumber(db, 'objects');
}

/** Objects of all origins marked above `after`, tombstones included, in the order of their marks. */
export async function listSharedObjects(db: Knex, after: number, limit: number): Promise<SharedObject[]> {
  return (await db('shared_objects').where('mark', '>', after).orderBy('mark').limit(limit)).map(fromRow);
}

/** Revisions that stand there of one origin's objects: what it compares with its own after an outage. */
export async function listSharedRevisions(db: Knex, origin: Id): Promise<Map<Id, number>> {
  const rows = await db('shared_objects').where({ origin }).select('id', 'revision');
  return new Map(rows.map(({ id, revision }) => [id, Number(revision)]));
}

export async function countSharedObjects(db: Knex, origin: Id): Promise<number> {
  const found = await db('shared_objects').where({ origin }).count({ count: 'id' }).first();
  return Number(found?.['count'] ?? 0);
}

function toRow(envelope: Envelope) {
  const { id, kind, origin, revision, body, digest, keyId, signature } = envelope;
  return { id, kind, origin, revision, body: JSON.stringify(body), digest, key_id: keyId, signature, deleted: body === null ? 1 : 0 };
}

type Row = {
  kind: ObjectKind;
  id: Id;
  origin: Id;
  revision: number;
  body: string;
  digest: Digest;
  key_id: Digest;
  signature: string;
  mark: number | string;
};

function fromRow({ kind, id, origin, revision, body, digest, key_id, signature, mark }: Row): SharedObject {
  return { envelope: { kind, id, origin, revision, body: JSON.parse(body), digest, keyId: key_id, signature }, mark: Number(mark) };
}
