import type { Knex } from 'knex';
import type { Id } from '../../core/ids.ts';
import type { Pause } from './links.ts';
import { getSetting, setSetting } from './settings.ts';

/** What a child is given of our egress. */
export type Grant = {
  readonly id: Id;
  readonly name: string;
  /** Its share against the others', 1 to 100. */
  readonly priority: number;
  /** No content for it until it is resumed. */
  readonly paused: Pause | null;
};

type Row = { id: Id; name: string; priority: number; paused_at: number | string | null; paused_by: string | null };

const COLUMNS = ['id', 'name', 'priority', 'paused_at', 'paused_by'] as const;
const TOTAL = 'egress-bps';

export async function getGrant(db: Knex, childId: Id): Promise<Grant | undefined> {
  const row: Row | undefined = await db('servers')
    .where({ id: childId, relation: 'child' })
    .first(...COLUMNS);
  return row && toGrant(row);
}

/** Of the children that are not revoked, by name. */
export async function listGrants(db: Knex): Promise<Grant[]> {
  const rows: Row[] = await db('servers')
    .where({ relation: 'child', state: 'active' })
    .orderBy('name')
    .select(...COLUMNS);
  return rows.map(toGrant);
}

export async function updatePriority(db: Knex, childId: Id, priority: number): Promise<void> {
  await db('servers').where({ id: childId, relation: 'child' }).update({ priority }).increment('revision', 1);
}

/** Pauses a child, or (null) lets it go on; false when it is so already. */
export async function updateGrantPause(db: Knex, childId: Id, pause: Pause | null): Promise<boolean> {
  const find = db('servers').where({ id: childId, relation: 'child' });
  const changed = await (pause === null ? find.whereNotNull('paused_at') : find.whereNull('paused_at'))
    .update({ paused_at: pause?.at ?? null, paused_by: pause?.by ?? null })
    .increment('revision', 1);
  return changed === 1;
}

/** Bits per second that all tunnels together may send; null: no limit. */
export async function getTotalEgress(db: Knex): Promise<number | null> {
  const text = await getSetting(db, TOTAL);
  return text === undefined || text === '' ? null : Number(text);
}

export async function setTotalEgress(db: Knex, bps: number | null): Promise<void> {
  await setSetting(db, TOTAL, bps === null ? '' : String(bps));
}

function toGrant(row: Row): Grant {
  return {
    id: row.id,
    name: row.name,
    priority: row.priority,
    paused: row.paused_at === null ? null : { at: Number(row.paused_at), by: row.paused_by ?? '' },
  };
}
