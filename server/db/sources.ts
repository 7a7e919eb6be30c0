import type { Knex } from 'knex';
import type { Digest, Id, Name } from '../../core/ids.ts';

/** A further server that content may come from: a sibling, a grandparent. Never a parent: it tells us nothing. */
export type Source = {
  readonly serverId: Id;
  readonly name: Name;
  readonly url: string;
  readonly caPin: Digest;
  /** SPKI digest of the client certificate that it gave us. */
  readonly certificateKeyId: Digest;
  /** Octets per second of the last good transfer from there. */
  readonly rateBytes: number | null;
  readonly createdAt: number;
};

type Row = {
  server_id: Id;
  name: Name;
  url: string;
  ca_pin: Digest;
  certificate_key_id: Digest;
  rate_bytes: number | string | null;
  created_at: number | string;
};

/** In the order in which they are asked: as they were added. */
export async function listSources(db: Knex): Promise<readonly Source[]> {
  return (await db<Row>('sources').orderBy('created_at').orderBy('server_id')).map((row) => ({
    serverId: row.server_id,
    name: row.name,
    url: row.url,
    caPin: row.ca_pin,
    certificateKeyId: row.certificate_key_id,
    rateBytes: row.rate_bytes === null ? null : Number(row.rate_bytes),
    createdAt: Number(row.created_at),
  }));
}

/** Adds a source, or replaces what is known of it. */
export async function putSource(trx: Knex, source: Omit<Source, 'rateBytes'>, origin: Id): Promise<void> {
  const { serverId, name, url, caPin, certificateKeyId, createdAt } = source;
  const row = { name, url, ca_pin: caPin, certificate_key_id: certificateKeyId };
  const changed = await trx('sources').where({ server_id: serverId }).update(row).increment('revision', 1);
  if (changed === 0) await trx('sources').insert({ server_id: serverId, ...row, created_at: createdAt, origin, revision: 1 });
}

/** Returns false when there is no such source. */
export async function removeSource(db: Knex, serverId: Id): Promise<boolean> {
  return (await db('sources').where({ server_id: serverId }).delete()) === 1;
}

export async function updateSourceRate(db: Knex, serverId: Id, rateBytes: number): Promise<void> {
  await db('sources').where({ server_id: serverId }).update({ rate_bytes: rateBytes });
}
