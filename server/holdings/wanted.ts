import type { Knex } from 'knex';
import type { Envelope } from '../../core/envelope.ts';
import type { Digest, Id } from '../../core/ids.ts';
import type { ImageBody } from '../../core/image.ts';
import { isInScope } from '../../core/scope.ts';
import { parseImageBody } from '../../sync/replicate/image-body.ts';
import { listImageChoices } from '../db/image-choices.ts';
import { getLink } from '../db/links.ts';
import { listKnownImages, listPublishedManifests } from '../db/replicas.ts';

/**
 * Manifests that are to be complete here: of these new objects, and of the images that are only known so far, those that
 * are in the link's scope or were chosen by an operator. So a wider scope fetches although the catalogue has nothing new.
 */
export async function wantedManifests(db: Knex, linkId: Id, objects: readonly Envelope[]): Promise<Digest[]> {
  const scope = (await getLink(db, linkId))?.scope ?? {};
  const chosen = new Set((await listImageChoices(db)).map(({ imageId }) => imageId));
  const isNew = new Set(objects.map(({ id }) => id));
  const known = (await listKnownImages(db)).filter(({ id }) => !isNew.has(id));
  const candidates = [...bodiesOf(objects), ...known.map((image) => ({ id: image.id, body: image }))];
  const wanted = candidates.filter(({ id, body }) => chosen.has(id) || isInScope(scope, body));
  return [...new Set(wanted.map(({ body }) => body.manifest))];
}

/** Complete manifests of the names and kinds that these wanted manifests belong to, newest first. */
export async function relatedManifests(db: Knex, wanted: readonly Digest[], objects: readonly Envelope[]): Promise<Digest[]> {
  const known: readonly ImageBody[] = await listKnownImages(db);
  const bodies = [...bodiesOf(objects).map(({ body }) => body), ...known].filter(({ manifest }) => wanted.includes(manifest));
  const rows = await listPublishedManifests(db, [...new Set(bodies.map((body) => body.name))]);
  const related = rows.filter((row) => bodies.some((body) => body.name === row.name && body.kind === row.kind));
  return [...new Set(related.map((row) => row.manifest))];
}

function bodiesOf(objects: readonly Envelope[]): { id: Id; body: ImageBody }[] {
  const images = objects.filter((object) => object.kind === 'image' && object.body !== null);
  return images.map((object) => ({ id: object.id, body: parseImageBody(object) }));
}
