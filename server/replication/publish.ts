import type { Knex } from 'knex';
import type { Envelope } from '../../core/envelope.ts';
import type { Digest } from '../../core/ids.ts';
import type { Image, ImageBody } from '../../core/image.ts';
import { parseImageBody } from '../../sync/replicate/image-body.ts';
import { appendEvent } from '../db/events.ts';
import { getImage, markImageDeleted, setImageError } from '../db/images.ts';
import { getObject, putObject, takeGeneration } from '../db/objects.ts';
import {
  asideVersion,
  claimName,
  getReplica,
  listKnownImages,
  passNamesOn,
  putReplica,
  raiseReplica,
  renumberObject,
} from '../db/replicas.ts';
import { admitImage } from '../holdings/activation.ts';
import { notToBeHad } from '../holdings/failure.ts';
import { describeServer } from '../owner.ts';
import type { Site } from '../site.ts';
import { hearStatements, isStatement } from '../succession/hear.ts';
import { noteTaken, replaces } from './replaced.ts';
import { noteShadowed } from './shadowed.ts';

/** What publishing a set of objects came to, for the run's event. `raised` were known before and are held now. */
export type Published = {
  readonly taken: number;
  readonly removed: number;
  readonly raised: number;
  readonly conflicts: readonly string[];
};

type Batch = {
  readonly at: number;
  /** What is known of contents; absent: nothing, the objects alone are news. */
  readonly content?: {
    readonly storedBytes: (manifest: string) => number;
    /** Whether the run found, or made, all of this content complete here. */
    readonly isComplete: (manifest: Digest) => boolean;
    /** Whether it was wanted and nobody had it. */
    readonly isAbsent: (manifest: Digest) => boolean;
    /** Whether it came now, every chunk of it hashed; absent: all of it did. What was found here is not read for that. */
    readonly isFetched?: (manifest: Digest) => boolean;
  };
};

/**
 * Makes replicated objects visible, in the caller's transaction: tombstones first, so that a name given up is free; then
 * images whose content is complete, and those that are known only. An object of our own is touched by nobody but who took our place, an older
 * revision never replaces a newer one, and both stay silent: they are what a parent that is behind sends. Children of
 * ours see objects, and what we hold of them, under the next generation of our catalogue.
 */
export async function publishReplicas(site: Site, trx: Knex.Transaction, objects: readonly Envelope[], batch: Batch): Promise<Published> {
  const fresh: Envelope[] = [];
  for (const object of objects.filter(isStatement)) if (await isNewHere(site, trx, object)) fresh.push(object);
  const statements = [...fresh];
  for (const object of statements) await putObject(trx, object, 0);
  await hearStatements(site, trx, statements);
  for (const object of objects) if (!isStatement(object) && (await isNewHere(site, trx, object))) fresh.push(object);
  const complete = await listComplete(trx, batch);
  if (fresh.length === 0 && complete.length === 0) {
    await noteAbsent(trx, batch);
    return { taken: 0, removed: 0, raised: 0, conflicts: [] };
  }
  const generation = await takeGeneration(trx);
  const tombstones = fresh.filter((object) => object.body === null);
  const living = fresh.filter((object) => object.body !== null);
  for (const object of [...tombstones, ...living]) await putObject(trx, object, generation);
  for (const object of tombstones) await markImageDeleted(trx, object.id);
  if (tombstones.length > 0) await passNamesOn(trx);
  const conflicts = await noteShadowed(site, trx, living, batch.at);
  // Oldest first: the newest of a name is activated last, and so is its default.
  for (const object of living.filter(({ kind }) => kind === 'image').sort(byCreation)) {
    const conflict = await publishImage(site, trx, object, batch);
    if (conflict !== undefined) conflicts.push(conflict);
  }
  const raised = await raiseKnown(site, trx, batch, generation);
  await noteAbsent(trx, batch);
  return { taken: living.length, removed: tombstones.length, raised, conflicts };
}

async function isNewHere(site: Site, trx: Knex.Transaction, object: Envelope): Promise<boolean> {
  if (object.origin === site.self.id) return false;
  const held = await getObject(trx, object.id);
  if (held === undefined) return true;
  const isSame = held.origin === object.origin;
  if (isSame ? held.revision >= object.revision : !(await replaces(site, trx, object, held))) return false;
  await noteTaken(site, trx, object, held);
  return true;
}

/** A name that is taken here keeps its owner: the newcomer stays `incoming` under a version that says where it is from. */
async function publishImage(site: Site, trx: Knex.Transaction, envelope: Envelope, batch: Batch): Promise<string | undefined> {
  const body = parseImageBody(envelope);
  const row = { envelope, body, storedBytes: batch.content?.storedBytes(body.manifest) ?? 0, ...timesOf(batch, body.manifest) };
  const { name, version } = body;
  const holder = await claimName(trx, { name, version, id: envelope.id });
  if (holder === undefined) {
    const before = await getReplica(trx, envelope.id);
    const wasHeld = before?.state === 'published' && before.manifest === body.manifest;
    const wasVisible = wasHeld && !(await getImage(trx, envelope.id))?.waiting;
    const isHeld = wasHeld || batch.content?.isComplete(body.manifest) === true;
    await putReplica(trx, { ...row, version, state: isHeld ? 'published' : 'known' });
    if (isHeld) await admitImage(site, trx, envelope.id, wasVisible);
    return undefined;
  }
  await putReplica(trx, { ...row, version: asideVersion(version, envelope.id), state: 'incoming' });
  const way = holder.origin === site.self.id ? `"image delete ${name}@${version}" here frees the name` : 'the first one keeps the name';
  const words = `${name}@${version} of server ${await describeServer(trx, envelope.origin)} is kept aside: an image of that name is here already (${way})`;
  await setImageError(trx, envelope.id, { code: 'name_taken', message: words, hint: 'the next run after that shows the other' });
  const event = { origin: site.self.id, at: batch.at, actor: 'system', subject: envelope.id };
  await appendEvent(trx, { ...event, kind: 'image.name-taken', data: { words } });
  return words;
}

/** Images that were known before the run and are complete after it, oldest first. */
async function raiseKnown(site: Site, trx: Knex.Transaction, batch: Batch, generation: number): Promise<number> {
  const complete = (await listComplete(trx, batch)).toReversed();
  for (const { id, manifest } of complete) {
    await raiseReplica(trx, id, { storedBytes: batch.content?.storedBytes(manifest) ?? 0, ...timesOf(batch, manifest) });
    await renumberObject(trx, id, generation);
    await admitImage(site, trx, id, false);
  }
  return complete.length;
}

function timesOf({ at, content }: Batch, manifest: Digest): { readonly at: number; readonly verifiedAt: number | null } {
  return { at, verifiedAt: content?.isFetched?.(manifest) === false ? null : at };
}

/** Without news of contents nothing is looked through: a server may know of a hundred thousand images. */
async function listComplete(trx: Knex.Transaction, { content }: Batch): Promise<readonly Image[]> {
  return content === undefined ? [] : (await listKnownImages(trx)).filter(({ manifest }) => content.isComplete(manifest));
}

async function noteAbsent(trx: Knex.Transaction, { content }: Batch): Promise<void> {
  if (content === undefined) return;
  for (const { id, manifest } of await listKnownImages(trx)) if (content.isAbsent(manifest)) await setImageError(trx, id, notToBeHad());
}

function byCreation(a: Envelope, b: Envelope): number {
  const [one, other] = [a, b].map((object) => object.body as unknown as ImageBody) as [ImageBody, ImageBody];
  return one.createdAt - other.createdAt || (a.id < b.id ? -1 : 1);
}
