import type { Knex } from 'knex';
import type { Envelope } from '../../core/envelope.ts';
import type { Digest, Id } from '../../core/ids.ts';
import type { ImageBody } from '../../core/image.ts';
import { isInScope } from '../../core/scope.ts';
import { parseImageBody } from '../../sync/replicate/image-body.ts';
import { listImageChoices } from '../db/image-choices.ts';
import { getLink } from '../db/links.ts';
import { listKnownImages } from '../db/replicas.ts';

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

/** The images that these manifests are the content of: of these new objects, or known so far. */
export async function imagesOf(db: Knex, manifests: readonly Digest[], objects: readonly Envelope[]): Promise<readonly ImageBody[]> {
  const known: readonly ImageBody[] = await listKnownImages(db);
  return [...bodiesOf(objects).map(({ body }) => body), ...known].filter(({ manifest }) => manifests.includes(manifest));
}

/**
 * How the bytes that an archive brought are shared out over the images it brought them for: by their used bytes, since its frames are
 * coded over all of them. 0 for any other manifest.
 */
export async function shareBytes(
  db: Knex,
  bytes: number,
  { want, objects }: { readonly want: readonly Digest[]; readonly objects: readonly Envelope[] },
): Promise<(manifest: string) => number> {
  const used = new Map<string, number>((await imagesOf(db, want, objects)).map(({ manifest, usedBytes }) => [manifest, usedBytes]));
  const total = [...used.values()].reduce((sum, one) => sum + one, 0);
  return (manifest) => Math.floor((bytes * (used.get(manifest) ?? 0)) / Math.max(1, total));
}

function bodiesOf(objects: readonly Envelope[]): { id: Id; body: ImageBody }[] {
  const images = objects.filter((object) => object.kind === 'image' && object.body !== null);
  return images.map((object) => ({ id: object.id, body: parseImageBody(object) }));
}
