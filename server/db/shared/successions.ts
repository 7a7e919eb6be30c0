import type { Knex } from 'knex';
import { type Id, isId } from '../../../core/ids.ts';
import { databaseTime } from '../dialect-time.ts';
import { LATEST_MS, MOST_NUMBER } from './documents.ts';

const MOST = 10_000;

/** A promotion as the shared database tells it. `at` is its time, epoch ms. */
export type SharedSuccession = {
  readonly predecessor: Id;
  readonly successor: Id;
  readonly at: number;
  readonly actor: string;
  /** How far the predecessor's objects were told: what it tells beyond was made afterwards. */
  readonly objects: number;
};

export type Promotion = Omit<SharedSuccession, 'at'> & { readonly askedAt: Id };

/** Writes who took the place of a server, over whoever did so before. */
export async function putSharedSuccession(trx: Knex.Transaction, promotion: Promotion): Promise<void> {
  const { predecessor, successor, actor, objects, askedAt } = promotion;
  const row = { predecessor, successor, actor: actor.slice(0, 128), objects, asked_at: askedAt, at: databaseTime(trx) };
  await trx('shared_successions').insert(row).onConflict('predecessor').merge();
}

/** What no server would have written is left out: whoever can log in there can write anything. */
export async function listSharedSuccessions(db: Knex): Promise<SharedSuccession[]> {
  const rows = await db('shared_successions')
    .whereBetween('at', [0, LATEST_MS])
    .whereBetween('objects', [0, MOST_NUMBER])
    .orderBy('predecessor')
    .limit(MOST);
  const sound = rows.filter(({ predecessor, successor }) => isId(predecessor) && isId(successor) && predecessor !== successor);
  return sound.map(({ predecessor, successor, at, actor, objects }) => ({
    ...{ predecessor, successor, actor },
    ...{ at: Number(at), objects: Number(objects) },
  }));
}
