import type { Knex } from 'knex';
import type { Envelope } from '../../core/envelope.ts';
import type { Digest, Id } from '../../core/ids.ts';
import type { Image, ImageBody, ImageState } from '../../core/image.ts';
import { listImagesIn } from './images.ts';

/** The images table as replication writes it: rows of objects that other servers made. */

/** Manifests of the published images with one of these names, newest first. */
export async function listPublishedManifests(
  db: Knex,
  names: readonly string[],
): Promise<{ manifest: Digest; name: string; kind: string }[]> {
  if (names.length === 0) return [];
  return db('images').where({ state: 'published' }).whereIn('name', names).orderBy('created_at', 'desc').select('manifest', 'name', 'kind');
}

/** Images of which only the object is here. */
export async function listKnownImages(db: Knex): Promise<readonly Image[]> {
  return listImagesIn(db, 'known');
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
  readonly state: 'published' | 'incoming' | 'known';
  readonly storedBytes: number;
  readonly at: number;
  /** When all of its content was hashed, if not at `at`; null: it was here, and was not read. */
  readonly verifiedAt?: number | null;
};

/** What of a replicated image was here before. */
export type HeldReplica = { readonly state: ImageState; readonly manifest: Digest };

export async function getReplica(db: Knex, id: Id): Promise<HeldReplica | undefined> {
  return db('images').where({ id }).first<HeldReplica | undefined>('state', 'manifest');
}

/**
 * Makes the row of a replicated image, or changes it to the object's new revision: content that was here and is the
 * same keeps its times.
 */
export async function putReplica(trx: Knex.Transaction, row: ReplicaRow): Promise<void> {
  const { envelope, body, version, state, storedBytes, at, verifiedAt = at } = row;
  const held = await getReplica(trx, envelope.id);
  const values = {
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
    error: null,
  };
  const isSame = held?.state === 'published' && state === 'published' && held.manifest === body.manifest;
  const isHeld = state === 'published';
  const times = isSame ? {} : { published_at: isHeld ? at : null, verified_at: isHeld ? verifiedAt : null };
  if (held === undefined) await trx('images').insert({ id: envelope.id, stored_bytes: storedBytes, ...values, ...times });
  else
    await trx('images')
      .where({ id: envelope.id })
      .update({ ...values, ...times });
}

/** A known image whose content is all here now. Returns false when it is not `known` (any more). */
export async function raiseReplica(
  trx: Knex.Transaction,
  id: Id,
  held: Pick<ReplicaRow, 'storedBytes' | 'at' | 'verifiedAt'>,
): Promise<boolean> {
  const { storedBytes, at, verifiedAt = at } = held;
  const row = { state: 'published', stored_bytes: storedBytes, published_at: at, verified_at: verifiedAt, error: null };
  return (await trx('images').where({ id, state: 'known' }).update(row)) === 1;
}

/** Gives an object the next number of our catalogue, so that children see it again: what we hold of it has changed. */
export async function renumberObject(trx: Knex.Transaction, id: Id, generation: number): Promise<void> {
  await trx('objects').where({ id }).update({ generation });
}
