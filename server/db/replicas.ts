import type { Knex } from 'knex';
import type { Envelope } from '../../core/envelope.ts';
import type { Digest, Id } from '../../core/ids.ts';
import type { ImageBody } from '../../core/image.ts';

/** The images table as replication writes it: rows of objects that other servers made. */

/** Manifests of the published images with one of these names, newest first. */
export async function listPublishedManifests(
  db: Knex,
  names: readonly string[],
): Promise<{ manifest: Digest; name: string; kind: string }[]> {
  if (names.length === 0) return [];
  return db('images').where({ state: 'published' }).whereIn('name', names).orderBy('created_at', 'desc').select('manifest', 'name', 'kind');
}

/** Which of these are manifests of images that are published here. */
export async function listOfferedManifests(db: Knex, manifests: readonly Digest[]): Promise<Digest[]> {
  const rows = await db('images')
    .where({ state: 'published' })
    .whereIn('manifest', [...manifests])
    .distinct('manifest');
  return rows.map(({ manifest }) => manifest);
}

/** Whether another object has an image of this name and version here. */
export async function isImageNameTaken(db: Knex, image: { name: string; version: string; id: Id }): Promise<boolean> {
  const { name, version, id } = image;
  return (await db('images').where({ name, version }).whereNot({ id }).first('id')) !== undefined;
}

export type ReplicaRow = {
  readonly envelope: Envelope;
  readonly body: ImageBody;
  /** Another one than the body's when its own is taken here. */
  readonly version: string;
  readonly state: 'published' | 'incoming';
  readonly storedBytes: number;
  readonly at: number;
};

/** Makes the row of a replicated image, or changes it to the object's new revision. */
export async function putReplica(trx: Knex.Transaction, { envelope, body, version, state, storedBytes, at }: ReplicaRow): Promise<void> {
  const row = {
    origin: envelope.origin,
    name: body.name,
    version,
    kind: body.kind,
    arch: body.arch,
    manifest: body.manifest,
    state,
    size_bytes: body.sizeBytes,
    used_bytes: body.usedBytes,
    created_at: body.createdAt,
    published_at: state === 'published' ? at : null,
    verified_at: at,
  };
  const changed = await trx('images').where({ id: envelope.id }).update(row);
  if (changed === 0) await trx('images').insert({ id: envelope.id, stored_bytes: storedBytes, ...row });
}
