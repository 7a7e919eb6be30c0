import type { Knex } from 'knex';
import type { Command } from '../../../core/control-protocol.ts';
import type { Id } from '../../../core/ids.ts';
import { takeNumbers } from './counters.ts';

const queueOf = (dest: string) => `commands:${dest}`;

/**
 * Appends a command to the queue of its destination and returns its number: without gaps, in the order of the commits.
 * One whose id is there already is not appended again, and keeps its number.
 */
export async function appendSharedCommand(trx: Knex.Transaction, command: Omit<Command, 'seq'>): Promise<number> {
  const known = await findSharedCommand(trx, command.id);
  if (known !== undefined) return known;
  const { id, dest, origin, kind, body, actor, createdAt } = command;
  const seq = await takeNumbers(trx, queueOf(dest), 1);
  const row = { dest, seq, id, origin, kind, body: JSON.stringify(body), actor: actor.slice(0, 128), created_at: createdAt };
  await trx('shared_commands').insert(row);
  return seq;
}

/** The number of a command that waits; undefined when it is not there (any more). */
export async function findSharedCommand(db: Knex, id: string): Promise<number | undefined> {
  const row = await db('shared_commands').where({ id }).first('seq');
  return row && Number(row.seq);
}

/** The oldest commands for a server after number `after`. */
export async function listSharedCommands(db: Knex, dest: Id, after: number, limit: number): Promise<Command[]> {
  const rows = await db('shared_commands').where({ dest }).where('seq', '>', after).orderBy('seq').limit(limit);
  return rows.map((row) => ({
    seq: Number(row.seq),
    id: row.id,
    dest: row.dest,
    origin: row.origin,
    kind: row.kind,
    body: JSON.parse(row.body),
    actor: row.actor,
    createdAt: Number(row.created_at),
  }));
}

/** Forgets what its destination has done. */
export async function dropSharedCommands(db: Knex, dest: Id, upTo: number): Promise<void> {
  await db('shared_commands').where({ dest }).where('seq', '<=', upTo).delete();
}

/** How many commands wait for each server. */
export async function countSharedCommands(db: Knex): Promise<Map<Id, number>> {
  const rows = await db('shared_commands').groupBy('dest').select('dest').count({ count: 'seq' });
  return new Map((rows as { dest?: Id; count?: number | string }[]).map(({ dest, count }) => [dest as Id, Number(count)]));
}
