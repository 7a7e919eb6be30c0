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
