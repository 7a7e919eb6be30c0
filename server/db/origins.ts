import type { Knex } from 'knex';
import type { Id } from '../../core/ids.ts';
import { getPeer } from './peers.ts';
import { getServer } from './servers.ts';

/** A server that reported, and the child of ours whose connection its reports come by (itself, when it is that child). */
export type Origin = { readonly id: Id; readonly via: Id; readonly seenAt: number };

export async function listOrigins(db: Knex): Promise<Origin[]> {
  const rows = await db('origins').orderBy('id').select('id', 'via', 'seen_at');
  return rows.map(({ id, via, seen_at }) => ({ id, via, seenAt: Number(seen_at) }));
}

export async function getOrigin(db: Knex, id: string): Promise<Origin | undefined> {
  const row = await db('origins').where({ id }).first();
  return row && { id: row.id, via: row.via, seenAt: Number(row.seen_at) };
}

/** For how many servers this child of ours reports, itself included when it does. */
export async function countOriginsVia(db: Knex, via: Id): Promise<number> {
  const found = await db('origins').where({ via }).count({ count: 'id' }).first();
  return Number(found?.['count'] ?? 0);
}

/** Notes that reports of a server came by this child now. */
export async function putOrigin(trx: Knex, origin: Origin): Promise<void> {
  const changed = await trx('origins').where({ id: origin.id }).update({ via: origin.via, seen_at: origin.seenAt });
  if (changed === 0) await trx('origins').insert({ id: origin.id, via: origin.via, first_at: origin.seenAt, seen_at: origin.seenAt });
}

/** Notes that a server reported by no child of ours: nothing changes when its way is known. */
export async function noteOrigin(trx: Knex, { id, seenAt }: Omit<Origin, 'via'>): Promise<void> {
  const changed = await trx('origins').where({ id }).update({ seen_at: seenAt });
  if (changed === 0) await trx('origins').insert({ id, via: id, first_at: seenAt, seen_at: seenAt });
}

/**
 * By which child of ours a server is reached: itself when it is our child, else the one that reported it. Null when nobody may speak
 * for it (ourselves, our parents); undefined when it is unknown, or its way was revoked: whoever reports it first is its way then.
 */
export async function reachOf(db: Knex, id: Id): Promise<Id | null | undefined> {
  const known = await getServer(db, id);
  if (known !== undefined && known.relation !== 'child') return null;
  if (known?.state === 'active') return id;
  const origin = await getOrigin(db, id);
  if (origin === undefined) return undefined;
  return (await getServer(db, origin.via))?.state === 'active' ? origin.via : undefined;
}

/**
 * In whose queue a command for a server goes: that of the child of ours by which it is reached, else, when it meets us in a shared
 * database, its own. Null or undefined when there is no way, as `reachOf` says.
 */
export async function routeTo(db: Knex, id: Id): Promise<Id | null | undefined> {
  const reach = await reachOf(db, id);
  if (reach) return reach;
  return (await getPeer(db, id))?.state === 'active' ? id : reach;
}
