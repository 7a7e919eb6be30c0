import type { Knex } from 'knex';
import type { Id } from '../../core/ids.ts';

/** One boot script that was given out. Its id is public and carries no right of its own. */
export type Boot = { readonly id: Id; readonly targetId: Id; readonly what: 'engine' | 'disk'; readonly createdAt: number };

export async function insertBoot(db: Knex, boot: Boot): Promise<void> {
  await db('boots').insert({ id: boot.id, target_id: boot.targetId, what: boot.what, created_at: boot.createdAt });
}

export async function findBoot(db: Knex, id: string): Promise<Boot | undefined> {
  const row = await db('boots').where({ id }).first();
  return row === undefined ? undefined : { id: row.id, targetId: row.target_id, what: row.what, createdAt: Number(row.created_at) };
}

/** The newest boot script given out for a target, unless an agent has introduced itself with it. */
export async function findUnusedBoot(db: Knex, targetId: Id): Promise<Boot | undefined> {
  const row = await db('boots').where({ target_id: targetId }).orderBy('created_at', 'desc').orderBy('id', 'desc').first('id');
  if (row === undefined) return undefined;
  const isUsed = (await db('agent_keys').where({ target_id: targetId, boot_id: row.id }).first('target_id')) !== undefined;
  return isUsed ? undefined : findBoot(db, row.id);
}

/** Forgets a target's boots that were given out before `before` (epoch ms). */
export async function deleteBootsBefore(db: Knex, targetId: Id, before: number): Promise<void> {
  await db('boots').where({ target_id: targetId }).where('created_at', '<', before).delete();
}
