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

export type VersionRow = Pick<Image, 'manifest' | 'name' | 'kind' | 'state'>;

/** Every version of these names that there ever was here, deleted ones too, newest first. */
export async function listVersionsEver(db: Knex, names: readonly string[]): Promise<readonly VersionRow[]> {
  if (names.length === 0) return [];
  return db('images')
    .whereIn('name', [...names])
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .select('manifest', 'name', 'kind', 'state');
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

/** Which other image has this name and version here, a deleted one included. */
export async function nameHolder(
  db: Knex,
  { name, version, id }: { name: string; version: string; id: Id },
): Promise<Pick<Image, 'id' | 'origin' | 'state'> | undefined> {
  return db('images')
    .where({ name, version })
    .whereNot({ id })
    .first<Pick<Image, 'id' | 'origin' | 'state'> | undefined>('id', 'origin', 'state');
}

/**
 * Lets an image have its name and version where a deleted one has them still: that is kept aside, so its version remains one that was
 * given. Returns whose living image has them; undefined: they are free.
 */
export async function claimName(
  trx: Knex.Transaction,
  image: { name: string; version: string; id: Id },
): Promise<Pick<Image, 'origin'> | undefined> {
  const holder = await nameHolder(trx, image);
  if (holder?.state !== 'deleted') return holder;
  await trx('images')
    .where({ id: holder.id })
    .update({ version: asideVersion(image.version, holder.id) });
  return undefined;
}

/** The version under which an image is kept whose own is another's here. */
export function asideVersion(version: string, id: Id): string {
  return `${version.slice(0, 40)}.${id.slice(-12)}`;
}

/**
 * Gives names that were given up to the images that wait for them (`incoming`), the oldest first: they are `known` from then on, and the
 * next run finds or fetches their content.
 */
export async function passNamesOn(trx: Knex.Transaction): Promise<void> {
  const waiting = await trx('images')
    .join('objects', 'objects.id', 'images.id')
    .where({ 'images.state': 'incoming' })
    .orderBy(['images.created_at', 'images.id'])
    .select<{ id: Id; name: string; body: string }[]>('images.id', 'images.name', 'objects.body');
  for (const { id, name, body } of waiting) {
    const { version } = JSON.parse(body) as ImageBody;
    if ((await claimName(trx, { name, version, id })) !== undefined) continue;
    await trx('images').where({ id }).update({ version, state: 'known', error: null });
  }
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
