import type { Knex } from 'knex';
import type { Digest, Id, Name } from '../../core/ids.ts';
import type { SignerRecord } from '../../core/sync-protocol.ts';

/** A server of the shared database, as its row there was seen last. */
export type Peer = {
  readonly id: Id;
  readonly name: Name;
  readonly state: 'active' | 'retired' | 'fenced';
  readonly url: string | null;
  readonly caPin: Digest;
  readonly signer: SignerRecord;
  /** The wished parent, how often that was changed (0: nobody wished anything), and by whom. */
  readonly parentId: Id | null;
  readonly parentRevision: number;
  readonly parentBy: 'operator' | 'file' | null;
  readonly revision: number;
  /** How far its objects are known here, by its own numbers. */
  readonly heldObjects: number;
  /** When it was first seen (epoch ms). */
  readonly firstAt: number;
};

/** What its row says. */
export type SeenPeer = Omit<Peer, 'heldObjects' | 'firstAt'>;

/** Keeps what was seen of a server. False, and nothing kept, when it is known by another pin: that is for good. */
export async function putPeer(db: Knex, peer: SeenPeer, now: number): Promise<boolean> {
  const { id, ...row } = toRow(peer);
  const known = await db('peers').where({ id }).first('ca_pin');
  if (known === undefined) await db('peers').insert({ id, ...row, held_objects: 0, first_at: now });
  else if (known.ca_pin !== peer.caPin) return false;
  else await db('peers').where({ id }).update(row);
  return true;
}

export async function getPeer(db: Knex, id: Id): Promise<Peer | undefined> {
  const row = await db('peers').where({ id }).first();
  return row && fromRow(row);
}

/** All of them, by name. */
export async function listPeers(db: Knex): Promise<Peer[]> {
  return (await db('peers').orderBy(['name', 'id'])).map(fromRow);
}

export async function countPeers(db: Knex): Promise<number> {
  return Number((await db('peers').count({ count: 'id' }).first())?.['count'] ?? 0);
}

/** Those of these that are known. */
export async function listPeersOf(db: Knex, ids: readonly Id[]): Promise<Peer[]> {
  return (await db('peers').whereIn('id', [...ids])).map(fromRow);
}

/** How far the objects of each of these are known here; who is not known is left out. */
export async function listHeldObjects(db: Knex, ids: readonly Id[]): Promise<Map<Id, number>> {
  const rows: { id: Id; held_objects: number }[] = await db('peers')
    .whereIn('id', [...ids])
    .select('id', 'held_objects');
  return new Map(rows.map((row) => [row.id, Number(row.held_objects)]));
}

/** The active one of this name or id. */
export async function findPeer(db: Knex, reference: string): Promise<Peer | undefined> {
  const row = await db('peers')
    .where({ state: 'active' })
    .where((either) => either.where({ name: reference }).orWhere({ id: reference }))
    .first();
  return row && fromRow(row);
}

/** Sets what a server is; for one that is gone from the database. */
export async function setPeerState(db: Knex, id: Id, state: Peer['state']): Promise<void> {
  await db('peers').where({ id }).update({ state });
}

/** Notes how far a server's objects are known here. */
export async function setHeldObjects(trx: Knex, id: Id, seq: number): Promise<void> {
  await trx('peers').where({ id }).update({ held_objects: seq });
}

function toRow({ id, name, state, url, caPin, signer, parentId, parentRevision, parentBy, revision }: SeenPeer) {
  return {
    ...{ id, name, state, url, ca_pin: caPin, signer: JSON.stringify(signer) },
    ...{ parent_id: parentId, parent_revision: parentRevision, parent_by: parentBy, revision },
  };
}

type Row = Pick<Peer, 'id' | 'name' | 'state' | 'url'> & {
  ca_pin: Digest;
  signer: string;
  parent_id: Id | null;
  parent_revision: number;
  parent_by: Peer['parentBy'];
  revision: number;
  held_objects: number | string;
  first_at: number | string;
};

function fromRow(row: Row): Peer {
  const { id, name, state, url } = row;
  return {
    ...{ id, name, state, url },
    caPin: row.ca_pin,
    signer: JSON.parse(row.signer) as SignerRecord,
    parentId: row.parent_id,
    parentRevision: Number(row.parent_revision),
    parentBy: row.parent_by,
    revision: Number(row.revision),
    heldObjects: Number(row.held_objects),
    firstAt: Number(row.first_at),
  };
}
