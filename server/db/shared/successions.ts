import type { Knex } from 'knex';
import type { Id } from '../../../core/ids.ts';
import { databaseTime } from '../dialect-time.ts';

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

export async function listSharedSuccessions(db: Knex): Promise<SharedSuccession[]> {
  const rows = await db('shared_successions').orderBy('predecessor').limit(10_000);
  return rows.map(({ predecessor, successor, at, actor, objects }) => ({
    ...{ predecessor, successor, actor },
    ...{ at: Number(at), objects: Number(objects) },
  }));
}
