import type { Knex } from 'knex';
import type { Id } from '../../core/ids.ts';

/** Sites that are not in sync, with when that was noticed. */
export async function listSyncAlarms(db: Knex): Promise<ReadonlyMap<Id, number>> {
  const rows = await db('sync_alarms').select<{ server_id: Id; raised_at: number | string }[]>('server_id', 'raised_at');
  return new Map(rows.map((row) => [row.server_id, Number(row.raised_at)]));
}

/** Returns false when it was raised already. */
export async function raiseSyncAlarm(trx: Knex, serverId: Id, at: number): Promise<boolean> {
  if ((await trx('sync_alarms').where({ server_id: serverId }).forUpdate().first('server_id')) !== undefined) return false;
  await trx('sync_alarms').insert({ server_id: serverId, raised_at: at });
  return true;
}

/** Returns false when there was none. */
export async function clearSyncAlarm(trx: Knex, serverId: Id): Promise<boolean> {
  return (await trx('sync_alarms').where({ server_id: serverId }).delete()) > 0;
}
