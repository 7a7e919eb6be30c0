import type { Knex } from 'knex';
import type { Digest, Id } from '../../core/ids.ts';
import { type Ancestor, Endorsement } from '../../core/sync-protocol.ts';

/** A server that never enrolled here, and why its objects are taken: docs/decisions/0011. */
export type TrustedServer = {
  readonly id: Id;
  readonly name: string;
  readonly caPin: Digest;
  readonly source: 'ancestor' | 'endorsed';
  /** What vouched for it, to be passed on; null for an ancestor. */
  readonly endorsement: Endorsement | null;
};

type Row = Omit<TrustedServer, 'caPin' | 'endorsement'> & {
  ca_pin: Digest;
  voucher: Id;
  position: number;
  endorsement: string | null;
  created_at: number;
  origin: Id;
  revision: number;
};

export async function getTrustedServer(db: Knex, id: Id): Promise<TrustedServer | undefined> {
  const row = await db<Row>('trusted_servers').where({ id }).first();
  return row && fromRow(row);
}

/** The servers above our parent, nearest first. */
export async function listAncestors(db: Knex): Promise<Ancestor[]> {
  const rows = await db<Row>('trusted_servers').where({ source: 'ancestor' }).orderBy('position');
  return rows.map((row) => ({ serverId: row.id, name: row.name, caPin: row.ca_pin }));
}

type Told = { readonly voucher: Id; readonly origin: Id; readonly now: number };

/** Sets what is above a parent to what it told when we enrolled: the operator's token vouches for it, so it replaces what was known. */
export async function replaceAncestors(trx: Knex.Transaction, ancestors: readonly Ancestor[], told: Told): Promise<void> {
  await trx<Row>('trusted_servers').where({ source: 'ancestor', voucher: told.voucher }).delete();
  const ids = ancestors.map(({ serverId }) => serverId as Id);
  await trx<Row>('trusted_servers').whereIn('id', ids).delete();
  for (const [position, { serverId, name, caPin }] of ancestors.entries()) {
    await trx<Row>('trusted_servers').insert({
      ...rowOf({ id: serverId, name, caPin }, told),
      source: 'ancestor',
      position,
      endorsement: null,
    });
  }
}

/**
 * Keeps the pin of a parent that was left, and of those above it: they are above us no more, and what they made is believed as
 * before. Nobody else hears of them from us.
 */
export async function keepFormerParent(
  trx: Knex.Transaction,
  parent: Pick<TrustedServer, 'id' | 'name' | 'caPin'>,
  told: Told,
): Promise<void> {
  await trx<Row>('trusted_servers').where({ source: 'ancestor', voucher: told.voucher }).update({ source: 'endorsed' });
  await keepVouched(trx, parent, told);
}

/** Keeps a server that somebody believed vouches for in a statement of its own; what is known stays. */
export async function keepVouched(trx: Knex, server: Pick<TrustedServer, 'id' | 'name' | 'caPin'>, told: Told): Promise<void> {
  const row = { ...rowOf(server, told), source: 'endorsed', position: 0, endorsement: null } as const;
  await trx<Row>('trusted_servers').insert(row).onConflict('id').ignore();
}

/** Keeps a server that was vouched for. The caller has seen that it is not known by another pin; repeating it is harmless. */
export async function saveEndorsed(db: Knex, endorsement: Endorsement, told: Omit<Told, 'voucher'>): Promise<void> {
  const { serverId, name, caPin, endorser } = endorsement;
  const row = rowOf({ id: serverId, name, caPin }, { ...told, voucher: endorser as Id });
  const endorsed = { ...row, source: 'endorsed', position: 0, endorsement: JSON.stringify(endorsement) } as const;
  await db<Row>('trusted_servers').insert(endorsed).onConflict('id').ignore();
}

function rowOf(server: { id: string; name: string; caPin: string }, { voucher, origin, now }: Told) {
  return { id: server.id as Id, name: server.name, ca_pin: server.caPin as Digest, voucher, created_at: now, origin, revision: 1 };
}

function fromRow({ id, name, ca_pin, source, endorsement }: Row): TrustedServer {
  return { id, name, caPin: ca_pin, source, endorsement: endorsement === null ? null : Endorsement.parse(JSON.parse(endorsement)) };
}
