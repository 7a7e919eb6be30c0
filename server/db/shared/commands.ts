import type { Knex } from 'knex';
import type { Command } from '../../../core/control-protocol.ts';
import type { Id } from '../../../core/ids.ts';
import { boundedText, MOST_NUMBER, readDocumentText } from './documents.ts';
import { chunks } from './reports.ts';

/**
 * A command on its way from `sender` to `receiver`, numbered and signed by the sender. It is done only after number
 * `after`; 0: whatever was done before.
 */
export type SentCommand = Command & {
  readonly sender: Id;
  readonly receiver: Id;
  readonly after: number;
  readonly keyId: string;
  readonly signature: string;
};

/** As many servers as may ask one of something at the same time. */
const MOST_SENDERS = 1_000;

/**
 * What waits for a receiver, by sender and number, at most `limit` of each sender: one whose commands cannot be done keeps nobody else's back.
 * One that cannot be read has no signature. With nothing waiting one index is looked at, whatever is stored.
 */
export async function listSentTo(db: Knex, receiver: Id, limit: number): Promise<SentCommand[]> {
  const senders: Id[] = await db('shared_commands')
    .where({ receiver })
    .distinct('sender')
    .orderBy('sender')
    .limit(MOST_SENDERS)
    .pluck('sender');
  const found: SentCommand[] = [];
  for (const sender of senders) {
    const rows = await db('shared_commands')
      .where({ receiver, sender })
      .where('seq', '<=', MOST_NUMBER)
      .orderBy('seq')
      .limit(limit)
      .select('receiver', 'sender', 'seq', 'after', 'id', 'dest', 'kind', 'actor', 'origin', 'created_at', 'key_id', 'signature')
      .select(boundedText(db, 'body'));
    found.push(...rows.map(fromRow));
  }
  return found;
}

/** Which commands of a sender wait for a receiver: number, predecessor, id. */
export async function listSentKeys(db: Knex, way: Way): Promise<{ seq: number; after: number; id: string }[]> {
  const rows = await db('shared_commands').where(way).orderBy('seq').select('seq', 'after', 'id');
  return rows.map(({ seq, after, id }) => ({ seq: Number(seq), after: Number(after), id }));
}

export type Way = { readonly receiver: Id; readonly sender: Id };

/** Takes these numbers of a sender out of the queue, and puts commands in. */
export async function replaceSent(trx: Knex.Transaction, way: Way, drop: readonly number[], put: readonly SentCommand[]): Promise<void> {
  for (const some of chunks(drop)) await trx('shared_commands').where(way).whereIn('seq', some).delete();
  for (const some of chunks(put.map(toRow))) await trx('shared_commands').insert(some).onConflict(['receiver', 'sender', 'seq']).merge();
}

/** Notes that a receiver has done all up to this number, and forgets it. */
export async function noteDone(trx: Knex.Transaction, way: Way, seq: number): Promise<void> {
  await trx('shared_done')
    .insert({ ...way, seq })
    .onConflict(['sender', 'receiver'])
    .merge(['seq']);
  await trx('shared_commands').where(way).where('seq', '<=', seq).delete();
}

/** Takes one command away that nobody can do. */
export async function dropSent(db: Knex, way: Way, seq: number): Promise<void> {
  await db('shared_commands')
    .where({ ...way, seq })
    .delete();
}

/** How far these receivers have done what a sender asked; who never did anything is left out. */
export async function listDone(db: Knex, sender: Id, receivers: readonly Id[]): Promise<Map<Id, number>> {
  const rows = await db('shared_done')
    .where({ sender })
    .whereIn('receiver', [...receivers])
    .where('seq', '<=', MOST_NUMBER)
    .select('receiver', 'seq');
  return new Map(rows.map(({ receiver, seq }) => [receiver as Id, Number(seq)]));
}

function toRow({ body, createdAt, keyId, ...command }: SentCommand) {
  const { actor, ...rest } = command;
  return { ...rest, actor: actor.slice(0, 128), body: JSON.stringify(body), created_at: createdAt, key_id: keyId };
}

function fromRow(row: Record<string, string | number | null>): SentCommand {
  const text = (key: string) => row[key] as string;
  const body = readDocumentText(row['body'] as string | null);
  return {
    ...{ receiver: text('receiver') as Id, sender: text('sender') as Id, seq: Number(row['seq']), after: Number(row['after']) },
    ...{ id: text('id'), dest: text('dest'), origin: text('origin'), kind: text('kind'), body: body ?? null },
    ...{
      actor: text('actor'),
      createdAt: Number(row['created_at']),
      keyId: text('key_id'),
      signature: body === undefined ? '' : text('signature'),
    },
  };
}
