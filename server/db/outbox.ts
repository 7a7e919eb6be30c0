import type { Knex } from 'knex';
import type { Id } from '../../core/ids.ts';
import { firstNumberOf } from './objects.ts';
import { joinTransaction } from './open.ts';

/** What servers above us are told of beside events. */
export type ReportedKind = 'target' | 'order' | 'server' | 'offer';

/** `seq` is the number of the last change of this thing. */
export type Change = { readonly kind: ReportedKind; readonly subject: Id; readonly seq: number };

/**
 * Notes, in the transaction of the change, that this thing is another one now. Numbers rise over all things of this
 * server, in the order of the commits: the counter's row stays locked until the transaction ends.
 */
export async function markChanged(db: Knex, kind: ReportedKind, subject: string): Promise<void> {
  await joinTransaction(db, async (trx) => {
    await trx('counters').where({ name: 'outbox' }).increment('value', 1);
    const { value } = await trx('counters').where({ name: 'outbox' }).first('value');
    const changed = await trx('outbox').where({ kind, subject }).update({ seq: value });
    if (changed === 0) await trx('outbox').insert({ kind, subject, seq: value });
  });
}

/** Things changed after number `after`, each once, in the order of their last change. */
export async function listChanges(db: Knex, after: number, limit: number): Promise<Change[]> {
  const rows = await db('outbox').where('seq', '>', after).orderBy('seq').limit(limit);
  return rows.map((row) => ({ kind: row.kind, subject: row.subject, seq: Number(row.seq) }));
}

/** The number of the newest change; 0 when there was none. */
export async function newestChange(db: Knex): Promise<number> {
  const row = await db('counters').where({ name: 'outbox' }).first('value');
  return Number(row?.value ?? 0);
}

/**
 * Gives every thing a number above all that were given before the epoch, in their order: a database that was set back must not
 * give a number twice, and tells everything anew.
 */
export async function raiseOutbox(trx: Knex, epoch: number): Promise<void> {
  let seq = firstNumberOf(epoch);
  for (const { kind, subject } of await trx('outbox').orderBy('seq').select('kind', 'subject')) {
    seq += 1;
    await trx('outbox').where({ kind, subject }).update({ seq });
  }
  await trx('counters').where({ name: 'outbox' }).update({ value: seq });
}
