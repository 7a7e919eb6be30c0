import { randomBytes } from 'node:crypto';
import type { Knex } from 'knex';
import type { Json } from '../../core/canonical-json.ts';
import { STATEMENT_KINDS } from '../../core/deputy.ts';
import type { Envelope, ObjectKind } from '../../core/envelope.ts';
import type { Digest, Id } from '../../core/ids.ts';

type ObjectRow = {
  id: string;
  kind: string;
  origin: string;
  revision: number;
  body: string;
  digest: string;
  key_id: string;
  signature: string;
  generation: number | string;
  deleted: boolean | number;
};

const GENERATION = 'catalogue.generation';
const EPOCH = 'catalogue.epoch';

/** Our own catalogue's epoch and newest generation; a site that has published nothing stands at 0. */
export async function getCatalogueNumbers(db: Knex): Promise<{ epoch: number; generation: number }> {
  const rows = await db('settings').whereIn('key', [GENERATION, EPOCH]).select('key', 'value');
  const numberAt = (key: string) => Number(rows.find((row) => row.key === key)?.value ?? 0);
  return { epoch: numberAt(EPOCH), generation: numberAt(GENERATION) };
}

/**
 * Takes the next generation of our catalogue. Call it inside the transaction that stores the objects: the
 * row stays locked until it ends, so a reader of generation G sees everything numbered up to G.
 */
export async function takeGeneration(trx: Knex.Transaction): Promise<number> {
  let row = await trx('settings').where({ key: GENERATION }).forUpdate().first('value');
  if (row === undefined) {
    // The first two writers of a server may meet here: one inserts, the other waits for it.
    await trx('settings').insert({ key: GENERATION, value: '0' }).onConflict('key').ignore();
    row = await trx('settings').where({ key: GENERATION }).forUpdate().first('value');
  }
  const next = Number(row?.value ?? 0) + 1;
  await trx('settings')
    .where({ key: GENERATION })
    .update({ value: String(next) });
  await markGeneration(trx, next);
  return next;
}

/**
 * Lets the generations go on above all that were given before the epoch. Children read the catalogue anew, but a shared database has the objects of a
 * server under their numbers, and who reads there reads on from the last one.
 */
export async function raiseGeneration(trx: Knex.Transaction, epoch: number): Promise<number> {
  const generation = Math.max((await getCatalogueNumbers(trx)).generation, firstNumberOf(epoch));
  await trx('settings')
    .insert({ key: GENERATION, value: String(generation) })
    .onConflict('key')
    .merge();
  await markGeneration(trx, generation);
  return generation;
}

/** A child that holds an older generation than these is not asked for its mark. */
const KEPT_MARKS = 100_000;

async function markGeneration(trx: Knex.Transaction, generation: number): Promise<void> {
  const mark = randomBytes(8).toString('hex');
  await trx('catalogue_marks').insert({ generation, mark }).onConflict('generation').merge();
  await trx('catalogue_marks')
    .where('generation', '<=', generation - KEPT_MARKS)
    .delete();
}

/** The mark of a generation; undefined for one that had none or lost it. */
export async function getMark(db: Knex, generation: number): Promise<string | undefined> {
  const row = await db('catalogue_marks').where({ generation }).first('mark');
  return row?.mark;
}

/** Stores an envelope, in place of an older revision of the same object. */
export async function putObject(trx: Knex.Transaction, envelope: Envelope, generation: number): Promise<void> {
  const row = {
    kind: envelope.kind,
    origin: envelope.origin,
    revision: envelope.revision,
    body: JSON.stringify(envelope.body),
    digest: envelope.digest,
    key_id: envelope.keyId,
    signature: envelope.signature,
    generation,
    deleted: envelope.body === null,
  };
  const changed = await trx('objects').where({ id: envelope.id }).update(row);
  if (changed === 0) await trx('objects').insert({ id: envelope.id, ...row });
}

export async function getObject(db: Knex, id: Id): Promise<Envelope | undefined> {
  const row = await db<ObjectRow>('objects').where({ id }).first();
  return row && toEnvelope(row);
}

/** The number lies in the settings as text; `epoch` is higher than every one before. */
export async function setEpoch(trx: Knex.Transaction, epoch: number): Promise<void> {
  const row = { key: EPOCH, value: String(epoch) };
  await trx('settings').insert(row).onConflict('key').merge();
}

/** No server makes more numbers in a second: what one epoch counts ends before the next one begins. Below 2^53 until the year 2255. */
const NUMBERS_PER_SECOND = 1_000_000;

/** A number above all that a server gave before this epoch of its catalogue began (epochs are seconds), for queues and outboxes. */
export function firstNumberOf(epoch: number): number {
  return epoch * NUMBERS_PER_SECOND;
}

/** Makes other writers of the catalogue wait until this transaction ends, so that what is looked up first is still so when it is written. */
export async function lockCatalogue(trx: Knex.Transaction): Promise<void> {
  await trx('settings').insert({ key: GENERATION, value: '0' }).onConflict('key').ignore();
  await trx('settings').where({ key: GENERATION }).forUpdate().first('value');
}

/** The living objects of a kind, of one server or of all, by id. */
export async function listObjectsOfKind(db: Knex, kind: ObjectKind, origin?: Id): Promise<Envelope[]> {
  const where = { kind, deleted: false, ...(origin === undefined ? {} : { origin }) };
  return (await db<ObjectRow>('objects').where(where).orderBy('id')).map(toEnvelope);
}

/** All objects of other servers, tombstones included, by id. */
export async function listForeignObjects(db: Knex, self: Id): Promise<Envelope[]> {
  return (await db<ObjectRow>('objects').whereNot({ origin: self }).orderBy('id')).map(toEnvelope);
}

/** The number of the newest object that a server made; 0 when it made none. */
export async function newestMade(db: Knex, origin: Id): Promise<number> {
  const row = await db<ObjectRow>('objects').where({ origin }).orderBy('generation', 'desc').first('generation');
  return Number(row?.generation ?? 0);
}

/** Objects that `origin` made, tombstones included, with their numbers above `after` in our catalogue, in the order of those. */
export async function listObjectsMade(
  db: Knex,
  origin: Id,
  { after, limit }: { readonly after: number; readonly limit: number },
): Promise<{ readonly envelope: Envelope; readonly seq: number }[]> {
  const rows = await db<ObjectRow>('objects').where({ origin }).where('generation', '>', after).orderBy('generation').limit(limit);
  return rows.map((row) => ({ envelope: toEnvelope(row), seq: Number(row.generation) }));
}

/** Objects of a server that another one may own in its place, tombstones included, by their numbers. */
export async function listOwnable(db: Knex, origin: Id, limit: number): Promise<Envelope[]> {
  return (
    await db<ObjectRow>('objects')
      .where({ origin })
      .whereNotIn('kind', [...STATEMENT_KINDS])
      .orderBy('generation')
      .limit(limit)
  ).map(toEnvelope);
}

export async function countOwnable(db: Knex, origin: Id): Promise<number> {
  const found = await db('objects')
    .where({ origin })
    .whereNotIn('kind', [...STATEMENT_KINDS])
    .count({ count: 'id' })
    .first();
  return Number(found?.['count'] ?? 0);
}

/** Every object numbered above `after` and up to `upTo`, tombstones included, in the order of their numbers. */
export async function listObjectsBetween(db: Knex, after: number, upTo: number): Promise<Envelope[]> {
  const rows = await db<ObjectRow>('objects')
    .where('generation', '>', after)
    .where('generation', '<=', upTo)
    .orderBy([{ column: 'generation' }, { column: 'id' }]);
  return rows.map(toEnvelope);
}

function toEnvelope(row: ObjectRow): Envelope {
  return {
    kind: row.kind as ObjectKind,
    id: row.id as Id,
    origin: row.origin as Id,
    revision: Number(row.revision),
    body: JSON.parse(row.body) as Json,
    digest: row.digest as Digest,
    keyId: row.key_id as Digest,
    signature: row.signature,
  };
}
