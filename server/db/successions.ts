import type { Knex } from 'knex';
import type { Id } from '../../core/ids.ts';

/** Why it is believed that a server took the place of another: docs/decisions/0028. */
export type SuccessionGround = 'promoted' | 'database' | 'token' | 'deputy';

export type Succession = {
  readonly predecessor: Id;
  readonly predecessorName: string;
  readonly successor: Id;
  readonly successorName: string;
  readonly ground: SuccessionGround;
  /** When it was promoted (epoch ms, by the clock of who tells it). */
  readonly at: number;
  /** How far the predecessor's objects were told in the shared database then; null: it was not by one. */
  readonly objects: number | null;
};

type Row = {
  predecessor: Id;
  predecessor_name: string;
  successor: Id;
  successor_name: string;
  ground: SuccessionGround;
  at: number | string;
  objects: number | string | null;
};

/** Keeps a succession over what was known of that predecessor. False when just that was known already. */
export async function saveSuccession(trx: Knex, succession: Succession): Promise<boolean> {
  const { predecessor, successor, at } = succession;
  const known = await getSuccession(trx, predecessor);
  if (known?.successor === successor && (known.at === at || known.ground !== succession.ground)) return false;
  const row = {
    ...{ predecessor, successor, at, ground: succession.ground, objects: succession.objects, adopting: false },
    ...{ predecessor_name: succession.predecessorName, successor_name: succession.successorName },
  };
  await trx('successions').insert(row).onConflict('predecessor').merge();
  return true;
}

export async function getSuccession(db: Knex, predecessor: Id): Promise<Succession | undefined> {
  const row = await db<Row>('successions').where({ predecessor }).first();
  return row && fromRow(row);
}

export async function listSuccessions(db: Knex): Promise<Succession[]> {
  return (await db<Row>('successions').orderBy('predecessor')).map(fromRow);
}

/** Whether `successor` took the place of `predecessor`, or of one that did. */
export async function succeeds(db: Knex, successor: Id, predecessor: Id): Promise<boolean> {
  const seen = new Set<Id>();
  for (let at: Id | undefined = predecessor; at !== undefined && !seen.has(at); ) {
    seen.add(at);
    at = (await getSuccession(db, at))?.successor;
    if (at === successor && successor !== predecessor) return true;
  }
  return false;
}

/** The predecessor whose objects are still to be signed anew by us; null when nothing is to be done. */
export async function nextAdoption(db: Knex): Promise<Id | null> {
  return (await db('successions').where({ adopting: true }).orderBy('predecessor').first('predecessor'))?.predecessor ?? null;
}

export async function setAdopting(trx: Knex, predecessor: Id, adopting: boolean): Promise<void> {
  await trx('successions').where({ predecessor }).update({ adopting });
}

function fromRow(row: Row): Succession {
  const { predecessor, successor, ground } = row;
  return {
    ...{ predecessor, successor, ground, predecessorName: row.predecessor_name, successorName: row.successor_name },
    ...{ at: Number(row.at), objects: row.objects === null ? null : Number(row.objects) },
  };
}
