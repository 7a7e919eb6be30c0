import type { Knex } from 'knex';
import type { Inventory } from '../../core/agent-protocol.ts';
import type { Id, Mac, Name } from '../../core/ids.ts';
import type { Arch } from '../../core/image.ts';
import { joinTransaction } from './open.ts';
import { markChanged } from './outbox.ts';

export type Firmware = 'bios' | 'uefi';
export type Environment = 'unknown' | 'firmware' | 'engine' | 'disk';
export type DiscoveredBy = 'dhcp' | 'boot' | 'agent' | 'operator';

/** A machine to be installed, known by UUID, then serial number, then MAC address. */
export type Target = {
  readonly id: Id;
  /** Given by an operator; a discovered target has none. */
  readonly name: Name | null;
  /** A label that operators give; any number of targets may bear one. */
  readonly group: Name | null;
  readonly uuid: string | null;
  readonly serial: string | null;
  readonly macs: readonly Mac[];
  readonly arch: Arch | null;
  readonly firmware: Firmware | null;
  readonly environment: Environment;
  /** What it does there, for people: `waiting`, `deploying 43 %`. */
  readonly activity: string;
  readonly inventory: Inventory | null;
  readonly discoveredBy: DiscoveredBy;
  readonly createdAt: number;
  readonly seenAt: number | null;
  readonly revision: number;
};

type Row = {
  id: Id;
  name: Name | null;
  group_name: Name | null;
  uuid: string | null;
  serial: string | null;
  arch: Arch | null;
  firmware: Firmware | null;
  environment: Environment;
  activity: string;
  inventory: string | null;
  discovered_by: DiscoveredBy;
  created_at: number;
  seen_at: number | null;
  origin: Id;
  revision: number;
};

function fromRow(row: Row, macs: readonly Mac[]): Target {
  return {
    id: row.id,
    name: row.name,
    group: row.group_name,
    uuid: row.uuid,
    serial: row.serial,
    macs,
    arch: row.arch,
    firmware: row.firmware,
    environment: row.environment,
    activity: row.activity,
    inventory: row.inventory === null ? null : (JSON.parse(row.inventory) as Inventory),
    discoveredBy: row.discovered_by,
    createdAt: Number(row.created_at),
    seenAt: row.seen_at === null ? null : Number(row.seen_at),
    revision: row.revision,
  };
}

async function withMacs(db: Knex, rows: readonly Row[]): Promise<Target[]> {
  if (rows.length === 0) return [];
  const ids = rows.map((row) => row.id);
  const macs = await db('target_macs').whereIn('target_id', ids).orderBy('mac').select<{ mac: Mac; target_id: Id }[]>('mac', 'target_id');
  return rows.map((row) =>
    fromRow(
      row,
      macs.filter((entry) => entry.target_id === row.id).map((entry) => entry.mac),
    ),
  );
}

/** The target whose column has this value (or one of these); of several with one serial number, the first made. */
export async function findTargetBy(
  db: Knex,
  column: 'id' | 'name' | 'uuid' | 'serial',
  values: string | readonly string[],
): Promise<Target | undefined> {
  const row = await db<Row>('targets').whereIn(column, [values].flat()).orderBy('id').first();
  return row === undefined ? undefined : (await withMacs(db, [row]))[0];
}

/** Targets that own any of these addresses, each once, the first made first. */
export async function findTargetsByMac(db: Knex, macs: readonly Mac[]): Promise<Target[]> {
  if (macs.length === 0) return [];
  const owners = db('target_macs').whereIn('mac', macs).select('target_id');
  return withMacs(db, await db<Row>('targets').whereIn('id', owners).orderBy('id'));
}

/** How these targets are called; who has no name, or is gone, is left out. */
export async function listTargetNames(db: Knex, ids: readonly Id[]): Promise<Map<Id, Name>> {
  const rows: { id: Id; name: Name }[] = await db('targets').whereIn('id', ids).whereNotNull('name').select('id', 'name');
  return new Map(rows.map(({ id, name }) => [id, name]));
}

/** By id, oldest first; `after` is the id of the last target of the page before. */
export async function selectTargets(db: Knex, page: { readonly after?: string; readonly limit: number }): Promise<Target[]> {
  const query = db<Row>('targets').orderBy('id').limit(page.limit);
  if (page.after !== undefined) query.where('id', '>', page.after);
  return withMacs(db, await query);
}

export type NewTarget = Pick<Target, 'id' | 'name' | 'uuid' | 'serial' | 'macs' | 'arch' | 'firmware' | 'environment' | 'activity'> & {
  readonly discoveredBy: DiscoveredBy;
  readonly seenAt: number | null;
  readonly origin: Id;
  readonly now: number;
};

export async function insertTarget(db: Knex, target: NewTarget): Promise<void> {
  await db('targets').insert({
    id: target.id,
    name: target.name,
    uuid: target.uuid,
    serial: target.serial,
    arch: target.arch,
    firmware: target.firmware,
    environment: target.environment,
    activity: target.activity,
    discovered_by: target.discoveredBy,
    created_at: target.now,
    seen_at: target.seenAt,
    origin: target.origin,
    revision: 1,
  });
  await addMacs(db, target.id, target.macs);
  await markChanged(db, 'target', target.id);
}

type Changeable = Pick<
  Target,
  'name' | 'group' | 'uuid' | 'serial' | 'arch' | 'firmware' | 'environment' | 'activity' | 'inventory' | 'seenAt'
>;

export type TargetPatch = { -readonly [Key in keyof Changeable]?: Changeable[Key] };

/** Changes a target that is still at the revision read. Returns false when somebody else changed it in between. */
export async function updateTarget(db: Knex, was: Pick<Target, 'id' | 'revision'>, patch: TargetPatch): Promise<boolean> {
  const { seenAt, inventory, group, ...plain } = patch;
  const fields: Partial<Row> = { ...plain, revision: was.revision + 1 };
  if (seenAt !== undefined) fields.seen_at = seenAt;
  if (group !== undefined) fields.group_name = group;
  if (inventory !== undefined) fields.inventory = inventory === null ? null : JSON.stringify(inventory);
  return joinTransaction(db, async (trx) => {
    if ((await trx<Row>('targets').where({ id: was.id, revision: was.revision }).update(fields)) !== 1) return false;
    await markChanged(trx, 'target', was.id);
    return true;
  });
}

export async function addMacs(db: Knex, targetId: Id, macs: readonly Mac[]): Promise<void> {
  if (macs.length > 0) await db('target_macs').insert(macs.map((mac) => ({ mac, target_id: targetId })));
}

/** A network card was moved to another machine: its address goes along. */
export async function moveMacs(db: Knex, targetId: Id, macs: readonly Mac[]): Promise<void> {
  if (macs.length === 0) return;
  const losers: Id[] = await db('target_macs').whereIn('mac', macs).whereNot({ target_id: targetId }).distinct().pluck('target_id');
  await db('target_macs').whereIn('mac', macs).update({ target_id: targetId });
  for (const id of [targetId, ...losers]) await markChanged(db, 'target', id);
}

export async function deleteTarget(db: Knex, id: Id): Promise<void> {
  await db('target_macs').where({ target_id: id }).delete();
  await db('agent_keys').where({ target_id: id }).delete();
  await db('boots').where({ target_id: id }).delete();
  await db('targets').where({ id }).delete();
  await markChanged(db, 'target', id);
}

/** Whether an order was ever made for the target. */
export async function hasOrders(db: Knex, targetId: Id): Promise<boolean> {
  return (await db('orders').where({ target_id: targetId }).first('id')) !== undefined;
}

/** How many machines were written down since then (epoch ms) without an operator asking for it. */
export async function countDiscovered(db: Knex, since: number): Promise<number> {
  const found = await db('targets').whereNot({ discovered_by: 'operator' }).where('created_at', '>', since).count({ count: 'id' }).first();
  return Number(found?.['count'] ?? 0);
}
