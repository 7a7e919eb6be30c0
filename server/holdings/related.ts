import type { Knex } from 'knex';
import type { Envelope } from '../../core/envelope.ts';
import type { Digest } from '../../core/ids.ts';
import { listVersionsEver, type VersionRow } from '../db/replicas.ts';
import { imagesOf } from './wanted.ts';

/** How many the store is asked about, for one image. */
const MOST_CANDIDATES = 256;

/**
 * What the content of these wanted manifests may build on, image by image: of the same name and kind, published versions, then those of
 * which the content is not wanted any more (out of scope, deleted, kept aside) and may be on the disk until `gc` takes it; each newest first.
 */
export async function relatedManifests(db: Knex, wanted: readonly Digest[], objects: readonly Envelope[]): Promise<Digest[][]> {
  return relate(db, wanted, { objects, isUsable: () => true });
}

/** The same with published versions only: their content stays however long the fetching takes. */
export async function relatedPublished(db: Knex, wanted: readonly Digest[], objects: readonly Envelope[]): Promise<Digest[][]> {
  return relate(db, wanted, { objects, isUsable: isPublished });
}

type Among = { readonly objects: readonly Envelope[]; readonly isUsable: (version: VersionRow) => boolean };

async function relate(db: Knex, wanted: readonly Digest[], { objects, isUsable }: Among): Promise<Digest[][]> {
  const bodies = await imagesOf(db, wanted, objects);
  const byName = Map.groupBy(await listVersionsEver(db, [...new Set(bodies.map(({ name }) => name))]), ({ name }) => name);
  return bodies.map((body) => {
    const versions = (byName.get(body.name) ?? []).filter((version) => version.kind === body.kind && isUsable(version));
    const inOrder = [...versions.filter(isPublished), ...versions.filter((version) => !isPublished(version))];
    return [...new Set(inOrder.map(({ manifest }) => manifest))].slice(0, MOST_CANDIDATES);
  });
}

const isPublished = ({ state }: VersionRow) => state === 'published';
