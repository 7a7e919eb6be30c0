import type { Knex } from 'knex';
import type { Envelope } from '../../core/envelope.ts';
import { parseImageBody } from '../../sync/replicate/image-body.ts';
import { appendEvent } from '../db/events.ts';
import { markImageDeleted } from '../db/images.ts';
import { getObject, putObject, takeGeneration } from '../db/objects.ts';
import { isImageNameTaken, putReplica } from '../db/replicas.ts';
import type { Site } from '../site.ts';

/** What publishing a set of objects came to, for the run's event. */
export type Published = { readonly taken: number; readonly removed: number; readonly conflicts: readonly string[] };

type Batch = { readonly storedBytes: (manifest: string) => number; readonly at: number };

/**
 * Makes replicated objects visible, in the caller's transaction: tombstones first, so that a name given up is free.
 * An object of our own is never touched, an older revision never replaces a newer one, and both stay silent: they are
 * what a parent that is behind sends. Children of ours see the objects under the next generation of our catalogue.
 */
export async function publishReplicas(site: Site, trx: Knex.Transaction, objects: readonly Envelope[], batch: Batch): Promise<Published> {
  const fresh: Envelope[] = [];
  for (const object of objects) if (await isNewHere(site, trx, object)) fresh.push(object);
  if (fresh.length === 0) return { taken: 0, removed: 0, conflicts: [] };
  const generation = await takeGeneration(trx);
  const tombstones = fresh.filter((object) => object.body === null);
  const living = fresh.filter((object) => object.body !== null);
  for (const object of [...tombstones, ...living]) await putObject(trx, object, generation);
  for (const object of tombstones) await markImageDeleted(trx, object.id);
  const conflicts: string[] = [];
  for (const object of living.filter(({ kind }) => kind === 'image')) {
    const conflict = await publishImage(site, trx, object, batch);
    if (conflict !== undefined) conflicts.push(conflict);
  }
  return { taken: living.length, removed: tombstones.length, conflicts };
}

async function isNewHere(site: Site, trx: Knex.Transaction, object: Envelope): Promise<boolean> {
  const held = await getObject(trx, object.id);
  if (object.origin === site.self.id || held?.origin === site.self.id) return false;
  return held === undefined || (held.origin === object.origin && held.revision < object.revision);
}

/** A name that is taken here keeps its owner: the newcomer stays `incoming` under a version that says where it is from. */
async function publishImage(site: Site, trx: Knex.Transaction, envelope: Envelope, batch: Batch): Promise<string | undefined> {
  const body = parseImageBody(envelope);
  const row = { envelope, body, storedBytes: batch.storedBytes(body.manifest), at: batch.at };
  const { name, version } = body;
  if (!(await isImageNameTaken(trx, { name, version, id: envelope.id }))) {
    await putReplica(trx, { ...row, version, state: 'published' });
    return undefined;
  }
  await putReplica(trx, { ...row, version: `${version.slice(0, 40)}.${envelope.id.slice(-12)}`, state: 'incoming' });
  const words = `${name}@${version} of server ${envelope.origin} is kept incoming: an image of that name is here already`;
  const event = { origin: site.self.id, at: batch.at, actor: 'system', subject: envelope.id };
  await appendEvent(trx, { ...event, kind: 'image.name-taken', data: { words } });
  return words;
}
