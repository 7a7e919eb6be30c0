import type { Knex } from 'knex';
import type { Digest, Id, Name } from '../../core/ids.ts';
import type { Image, ImageBody, ImageError } from '../../core/image.ts';
import { defaultVersion } from '../../core/version-choice.ts';
import { getImageChoice } from './image-choices.ts';
import { listRunManifests } from './runs.ts';

type Row = {
  id: Id;
  origin: Id;
  name: Name;
  version: string;
  kind: Image['kind'];
  arch: Image['arch'];
  manifest: Digest;
  state: Image['state'];
  size_bytes: number | string;
  used_bytes: number | string;
  stored_bytes: number | string;
  created_at: number | string;
  published_at: number | string | null;
  verified_at: number | string | null;
  waiting: boolean | number;
  activation: number | string;
  activate_at: number | string | null;
  error: string | null;
};

/** What of an image object is here; `body` is the object's own. */
export type NewImage = {
  readonly id: Id;
  readonly origin: Id;
  readonly body: ImageBody;
  readonly state: Image['state'];
  readonly storedBytes: number;
  /** Epoch milliseconds, when the image is published here; null while it is incoming. */
  readonly publishedAt: number | null;
};

/** Adds an image. A name and version that are taken, also by a deleted image, break a unique key. */
export async function insertImage(db: Knex, { id, origin, body, state, storedBytes, publishedAt }: NewImage): Promise<void> {
  await db('images').insert({
    id,
    origin,
    name: body.name,
    version: body.version,
    kind: body.kind,
    arch: body.arch,
    manifest: body.manifest,
    state,
    size_bytes: body.sizeBytes,
    used_bytes: body.usedBytes,
    stored_bytes: storedBytes,
    created_at: body.createdAt,
    published_at: publishedAt,
    // What we chunked ourselves was read while it was hashed; what arrived was checked chunk by chunk.
    verified_at: publishedAt,
  });
}

export async function getImage(db: Knex, id: Id): Promise<Image | undefined> {
  return (await selectImages(db, (rows) => rows.where({ 'images.id': id })))[0];
}

/** The image of that name and version, whatever its state but deleted. */
export async function findImageVersion(db: Knex, name: string, version: string): Promise<Image | undefined> {
  return (await selectImages(db, (rows) => rows.where({ 'images.name': name, 'images.version': version })))[0];
}

/** The images of that name whose content is all here, newest first; also those that wait for their activation. */
export async function listPublishedVersions(db: Knex, name: string): Promise<readonly Image[]> {
  return selectImages(db, (rows) => rows.where({ 'images.name': name, 'images.state': 'published' }));
}

/** The version that a name alone stands for (core/version-choice.ts). */
export async function findDefaultImage(db: Knex, name: string): Promise<Image | undefined> {
  return defaultVersion(await listPublishedVersions(db, name), await getImageChoice(db, name));
}

/** All images but the deleted ones, newest first. */
export async function listImages(db: Knex): Promise<readonly Image[]> {
  return selectImages(db, (rows) => rows);
}

/** Images in one state, newest first. */
export async function listImagesIn(db: Knex, state: Image['state']): Promise<readonly Image[]> {
  return selectImages(db, (rows) => rows.where({ 'images.state': state }));
}

/** Deleted images whose content an operator's choice keeps. Their objects are tombstones: what is told is what the row still says. */
export async function listKeptDeletions(db: Knex): Promise<readonly Image[]> {
  const rows = await db<Row>('images').where({ state: 'deleted' }).whereIn('id', db('image_choices').select('image_id'));
  return rows.map((row) => {
    const { name, version, kind, arch, manifest } = row;
    const sizes = { sizeBytes: Number(row.size_bytes), usedBytes: Number(row.used_bytes), createdAt: Number(row.created_at) };
    return toImage({ ...row, body: JSON.stringify({ name, version, kind, arch, manifest, ...sizes }) });
  });
}

/** Every version that was ever given to this name here, deleted ones included. */
export async function listVersions(db: Knex, name: string): Promise<readonly string[]> {
  const rows = await db<Row>('images')
    .where({ name: name as Name })
    .select('version');
  return rows.map(({ version }) => version);
}

/**
 * Manifests that must stay in the store: of every image that is here or arriving, of every choice and every active order, and
 * what runs work on.
 */
export async function listKeptManifests(db: Knex): Promise<readonly Digest[]> {
  const images = await db<Row>('images')
    .whereNotIn('state', ['deleted', 'known'])
    .orWhereIn('id', db('image_choices').select('image_id'))
    .select('manifest');
  const orders = await db('orders').whereIn('id', db('active_orders').select('order_id')).select<{ manifest: Digest }[]>('manifest');
  return [...new Set([...[...images, ...orders].map(({ manifest }) => manifest), ...(await listRunManifests(db))])];
}

/** Active orders that deploy this image. */
export async function listOrdersOfImage(db: Knex, id: Id): Promise<readonly Id[]> {
  const orders = await db('orders')
    .where({ image_id: id })
    .whereIn('id', db('active_orders').select('order_id'))
    .select<{ id: Id }[]>('id');
  return orders.map((order) => order.id);
}

/** Images whose content is here whole, as others are told: newest first. */
export async function listPublishedContent(db: Knex): Promise<{ name: string; version: string; kind: string; manifest: string }[]> {
  const rows = await db<Row>('images').where({ state: 'published' }).orderBy('created_at', 'desc').orderBy('id', 'desc');
  return rows.map(({ name, version, kind, manifest }) => ({ name, version, kind, manifest }));
}

/** Marks an image deleted; its name and version stay taken. Returns false when it was so already. */
export async function markImageDeleted(db: Knex, id: Id): Promise<boolean> {
  return (await db<Row>('images').where({ id }).whereNot({ state: 'deleted' }).update({ state: 'deleted' })) === 1;
}

/** Moves an image from one state to another. Returns false when it is not in the one expected. */
export async function moveImageState(db: Knex, id: Id, move: { from: Image['state']; to: Image['state'] }): Promise<boolean> {
  return (await db<Row>('images').where({ id, state: move.from }).update({ state: move.to })) === 1;
}

/** Shows a version, with the count of its activation; what was set for later is over with that. */
export async function showImage(db: Knex, id: Id, activation: number): Promise<void> {
  await db<Row>('images').where({ id }).update({ waiting: false, activation, activate_at: null });
}

/** Keeps a version that is held from being seen until it is activated. */
export async function hideImage(db: Knex, id: Id): Promise<void> {
  await db<Row>('images').where({ id }).update({ waiting: true });
}

/** Sets, or takes back (null), when this site activates a version. */
export async function setSiteActivation(db: Knex, id: Id, at: number | null): Promise<void> {
  await db<Row>('images').where({ id }).update({ activate_at: at });
}

/** Held versions that are not visible yet, or have an activation to come. */
export async function listPendingActivations(db: Knex): Promise<readonly Image[]> {
  return selectImages(db, (rows) =>
    rows
      .where({ 'images.state': 'published' })
      .where((either: Knex.QueryBuilder) => either.where({ 'images.waiting': true }).orWhereNotNull('images.activate_at')),
  );
}

/** Writes down what went wrong for an image, or that nothing does (null). */
export async function setImageError(db: Knex, id: Id, error: ImageError | null): Promise<void> {
  await db<Row>('images')
    .where({ id })
    .update({ error: error === null ? null : JSON.stringify(error) });
}

export async function markImageVerified(db: Knex, id: Id, now: number): Promise<void> {
  await db<Row>('images').where({ id }).update({ verified_at: now });
}

async function selectImages(db: Knex, narrow: (rows: Knex.QueryBuilder) => Knex.QueryBuilder): Promise<Image[]> {
  const rows = db('images')
    .join('objects', 'objects.id', 'images.id')
    .whereNot({ 'images.state': 'deleted' })
    .orderBy([
      { column: 'images.created_at', order: 'desc' },
      { column: 'images.id', order: 'desc' },
    ])
    .select('images.*', 'objects.body as body');
  return ((await narrow(rows)) as (Row & { body: string })[]).map(toImage);
}

function toImage(row: Row & { body: string }): Image {
  const body = JSON.parse(row.body) as ImageBody;
  return {
    ...body,
    id: row.id,
    origin: row.origin,
    // A copy whose name was taken here goes by another version than its signed body says.
    version: row.version,
    state: row.state,
    storedBytes: Number(row.stored_bytes),
    verifiedAt: row.verified_at === null ? null : Number(row.verified_at),
    waiting: Boolean(row.waiting),
    activation: Number(row.activation),
    siteActivateAt: row.activate_at === null ? null : Number(row.activate_at),
    error: row.error === null ? null : (JSON.parse(row.error) as ImageError),
  };
}

/** Another server owns an image's object now. */
export async function setImageOrigin(trx: Knex, id: Id, origin: Id): Promise<void> {
  await trx('images').where({ id }).update({ origin });
}
