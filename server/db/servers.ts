import type { Knex } from 'knex';
import type { Digest, Id, Name } from '../../core/ids.ts';

/** A server we know: ourselves, the parent we pull from, or a child we serve. */
export type KnownServer = {
  readonly id: Id;
  readonly name: Name;
  readonly relation: 'self' | 'parent' | 'child';
  readonly state: 'active' | 'revoked';
  /** Base URL of its HTTPS listener; known for parents only. */
  readonly url: string | null;
  readonly caPin: Digest | null;
  /** PEM. */
  readonly ca: string | null;
  /** SPKI digest of the client certificate in force: the child's for a child, ours for a parent. */
  readonly certificateKeyId: Digest | null;
  readonly signerKeyId: Digest | null;
  readonly createdAt: number;
  readonly seenAt: number | null;
  /** Of a child: its ring; null or absent: it has none of its own. Set by `setChildRing`. */
  readonly ring?: number | null;
  /** Of a child: when it last showed that it holds all that we told it. Set by `noteChildAsked`. */
  readonly syncedAt?: number | null;
  /** Of a child: it only takes content from us. */
  readonly isContentOnly?: boolean;
};

type Row = {
  id: Id;
  name: Name;
  relation: KnownServer['relation'];
  state: KnownServer['state'];
  url: string | null;
  ca_pin: Digest | null;
  ca: string | null;
  certificate_key_id: Digest | null;
  signer_key_id: Digest | null;
  created_at: number | string;
  seen_at: number | string | null;
  ring: number | null;
  told_epoch: number | string | null;
  told_generation: number | string | null;
  synced_at: number | string | null;
  content_only: boolean | number;
  origin: Id;
  revision: number;
};

function fromRow(row: Row): KnownServer {
  return {
    id: row.id,
    name: row.name,
    relation: row.relation,
    state: row.state,
    url: row.url,
    caPin: row.ca_pin,
    ca: row.ca,
    certificateKeyId: row.certificate_key_id,
    signerKeyId: row.signer_key_id,
    createdAt: Number(row.created_at),
    seenAt: row.seen_at === null ? null : Number(row.seen_at),
    ring: row.ring,
    syncedAt: row.synced_at === null ? null : Number(row.synced_at),
    isContentOnly: Boolean(row.content_only),
  };
}

type Told = 'ring' | 'told_epoch' | 'told_generation' | 'synced_at';

function toRow(server: KnownServer): Omit<Row, 'origin' | 'revision' | Told> {
  return {
    id: server.id,
    name: server.name,
    relation: server.relation,
    state: server.state,
    url: server.url,
    ca_pin: server.caPin,
    ca: server.ca,
    certificate_key_id: server.certificateKeyId,
    signer_key_id: server.signerKeyId,
    created_at: server.createdAt,
    seen_at: server.seenAt,
    content_only: server.isContentOnly ?? false,
  };
}

/** Adds a server as `origin` (ourselves) knows it. A name or id that is there already breaks a unique key. */
export async function createServer(db: Knex, server: KnownServer, origin: Id): Promise<void> {
  await db<Row>('servers').insert({ ...toRow(server), origin, revision: 1 });
}

/** Replaces all that is known of a server but its creation time. */
export async function updateServer(db: Knex, server: KnownServer): Promise<void> {
  const { id, created_at: _createdAt, ...fields } = toRow(server);
  await db<Row>('servers').where({ id }).update(fields).increment('revision', 1);
}

export async function getServer(db: Knex, id: Id): Promise<KnownServer | undefined> {
  const row = await db<Row>('servers').where({ id }).first();
  return row && fromRow(row);
}

export async function findServerByName(db: Knex, name: string): Promise<KnownServer | undefined> {
  const row = await db<Row>('servers')
    .where({ name: name as Name })
    .first();
  return row && fromRow(row);
}

/** The child whose client certificate has this key, revoked or not. */
export async function findChildByKey(db: Knex, keyId: Digest): Promise<KnownServer | undefined> {
  const row = await db<Row>('servers').where({ certificate_key_id: keyId, relation: 'child' }).first();
  return row && fromRow(row);
}

export async function listServers(db: Knex): Promise<readonly KnownServer[]> {
  return (await db<Row>('servers').orderBy('created_at').orderBy('id')).map(fromRow);
}

/** What a list shows of a server: without its certificate and keys, which of 500 servers are most of what is read. */
export type ListedServer = Omit<KnownServer, 'ca' | 'certificateKeyId' | 'signerKeyId'>;

const LISTED = ['id', 'name', 'relation', 'state', 'url', 'ca_pin', 'created_at', 'seen_at', 'ring', 'synced_at', 'content_only'] as const;

export async function listServersForPeople(db: Knex): Promise<readonly ListedServer[]> {
  const rows = await db<Row>('servers')
    .orderBy('created_at')
    .orderBy('id')
    .select(...LISTED);
  return rows.map((row) => fromRow({ ...row, ca: null, certificate_key_id: null, signer_key_id: null } as Row));
}

/** Those of these that are known. */
export async function listServersOf(db: Knex, ids: readonly Id[]): Promise<readonly KnownServer[]> {
  return (await db<Row>('servers').whereIn('id', [...ids])).map(fromRow);
}

/** Returns false when no active child has this id. */
export async function revokeChild(db: Knex, id: Id): Promise<boolean> {
  const changed = await db<Row>('servers')
    .where({ id, relation: 'child', state: 'active' })
    .update({ state: 'revoked' })
    .increment('revision', 1);
  return changed === 1;
}

/** Forgets a parent's row; false when there is none. */
export async function removeParent(trx: Knex.Transaction, id: Id): Promise<boolean> {
  return (await trx<Row>('servers').where({ id, relation: 'parent' }).delete()) === 1;
}

export async function touchServer(db: Knex, id: Id, now: number): Promise<void> {
  await db<Row>('servers').where({ id }).update({ seen_at: now });
}

/** A place in our catalogue. */
export type Held = { readonly epoch: number; readonly generation: number };

/**
 * A child asked for our catalogue, which stands at `told` now. What it says that it holds is the proof of its last run: it
 * is in sync when that is all it was told then, or all there is.
 */
export async function noteChildAsked(db: Knex, id: Id, { held, told, now }: { held: Held; told: Held; now: number }): Promise<void> {
  const row = await db<Row>('servers').where({ id, relation: 'child' }).first();
  if (row === undefined) return;
  const isAll = held.epoch === told.epoch && held.generation === told.generation;
  const isWhatWeTold = held.epoch === Number(row.told_epoch ?? -1) && held.generation === Number(row.told_generation ?? -1);
  const synced = isAll || isWhatWeTold ? { synced_at: now } : {};
  await db('servers')
    .where({ id })
    .update({ seen_at: now, told_epoch: told.epoch, told_generation: told.generation, ...synced });
}

/** Returns false when there is no such child. */
export async function setChildRing(db: Knex, id: Id, ring: number | null): Promise<boolean> {
  return (await db<Row>('servers').where({ id, relation: 'child' }).update({ ring }).increment('revision', 1)) === 1;
}
