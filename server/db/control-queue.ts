import type { Knex } from 'knex';
import type { Command } from '../../core/control-protocol.ts';
import type { Id } from '../../core/ids.ts';
import { firstNumberOf, getCatalogueNumbers } from './objects.ts';

type Direction = 'down' | 'applied';

/**
 * Appends a command to a child's queue, under the child's next number, in the order of the commits. Also the first number for a child is one of
 * this epoch: a server that was set back does not know whom it had asked something before.
 */
export async function appendCommand(trx: Knex, childId: Id, command: Omit<Command, 'seq'>): Promise<number> {
  const last = await lockControlMark(trx, childId, 'down');
  const { epoch } = await getCatalogueNumbers(trx);
  const seq = Math.max(last, firstNumberOf(epoch)) + 1;
  await moveControlMark(trx, childId, 'down', { from: last, to: seq });
  const { id, dest, origin, kind, body, actor, createdAt } = command;
  const row = {
    child_id: childId,
    seq,
    id,
    dest,
    origin,
    kind,
    body: JSON.stringify(body),
    actor: actor.slice(0, 128),
    created_at: createdAt,
  };
  await trx('control_queue').insert(row);
  return seq;
}

/** The oldest commands of a child after number `after`. */
export async function listCommands(db: Knex, childId: Id, after: number, limit: number): Promise<Command[]> {
  const rows = await db('control_queue').where({ child_id: childId }).where('seq', '>', after).orderBy('seq').limit(limit);
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

/** Forgets what the child has done. */
export async function dropCommands(db: Knex, childId: Id, upTo: number): Promise<void> {
  await db('control_queue').where({ child_id: childId }).where('seq', '<=', upTo).delete();
}

/** Takes one command back. */
export async function removeCommand(trx: Knex, childId: Id, seq: number): Promise<void> {
  await trx('control_queue').where({ child_id: childId, seq }).delete();
}

/** Who has commands waiting here. */
export async function listWaitingPeers(db: Knex): Promise<Id[]> {
  return db('control_queue').distinct('child_id').orderBy('child_id').pluck('child_id');
}

/** Whom we ever sent a command (`down`), or who ever sent us one (`applied`), and how far that came. */
export async function listControlMarks(db: Knex, direction: Direction): Promise<{ readonly peerId: Id; readonly seq: number }[]> {
  const rows = await db('control_marks').where({ direction }).orderBy('peer_id').select('peer_id', 'seq');
  return rows.map(({ peer_id, seq }) => ({ peerId: peer_id, seq: Number(seq) }));
}

export async function countCommands(db: Knex, childId: Id): Promise<number> {
  const found = await db('control_queue').where({ child_id: childId }).count({ count: 'id' }).first();
  return Number(found?.['count'] ?? 0);
}

/** How many commands wait for each child that has any. */
export async function countAllCommands(db: Knex): Promise<Map<Id, number>> {
  const rows = (await db('control_queue').groupBy('child_id').select('child_id').count({ count: 'id' })) as {
    child_id: Id;
    count: number | string;
  }[];
  return new Map(rows.map((row) => [row.child_id, Number(row.count)]));
}

/** Gives all waiting commands of a child new numbers after `base`, in their order. */
export async function renumberCommands(trx: Knex, childId: Id, base: number): Promise<void> {
  const waiting = await trx('control_queue').where({ child_id: childId }).orderBy('seq', 'desc').select('seq');
  const last = await lockControlMark(trx, childId, 'down');
  let seq = base + waiting.length;
  for (const row of waiting) {
    await trx('control_queue').where({ child_id: childId, seq: row.seq }).update({ seq });
    seq -= 1;
  }
  await moveControlMark(trx, childId, 'down', { from: last, to: base + waiting.length });
}

/** Where we stand with a peer, the row locked until the transaction ends; 0 at first. */
export async function lockControlMark(trx: Knex, peerId: Id, direction: Direction): Promise<number> {
  await trx('control_marks').insert({ peer_id: peerId, direction, seq: 0 }).onConflict(['peer_id', 'direction']).ignore();
  const row = await trx('control_marks').where({ peer_id: peerId, direction }).forUpdate().first('seq');
  return Number(row.seq);
}

export async function getControlMark(db: Knex, peerId: Id, direction: Direction): Promise<number> {
  const row = await db('control_marks').where({ peer_id: peerId, direction }).first('seq');
  return Number(row?.seq ?? 0);
}

/** Returns false when the mark is no longer at `from`. */
export async function moveControlMark(trx: Knex, peerId: Id, direction: Direction, move: { from: number; to: number }): Promise<boolean> {
  return (await trx('control_marks').where({ peer_id: peerId, direction, seq: move.from }).update({ seq: move.to })) === 1;
}

/**
 * Lets the numbers of all queues go on above those that were given before the epoch. A server that was set back does not know them all,
 * and a child that has done one of them would take a new command of that number for done. What waits keeps its number: by that the
 * child tells whether it has done it.
 */
export async function raiseControlMarks(trx: Knex, epoch: number): Promise<void> {
  const seq = firstNumberOf(epoch);
  const children: Id[] = await trx('servers').where({ relation: 'child' }).pluck('id');
  for (const childId of children) await lockControlMark(trx, childId, 'down');
  // Also the queues of servers that meet us in a shared database.
  await trx('control_marks').where({ direction: 'down' }).where('seq', '<', seq).update({ seq });
}
