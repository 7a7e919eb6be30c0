import type { Knex } from 'knex';
import type { Envelope } from '../../core/envelope.ts';
import type { Digest } from '../../core/ids.ts';
import type { ImageBody } from '../../core/image.ts';
import type { Related } from '../../sync/replicate/bases.ts';
import { listNewestPublished, listVersionsEver, type VersionRow } from '../db/replicas.ts';
import { imagesOf } from './wanted.ts';

/** Candidates that the store is asked about, for one image; and images that are looked through for others of another name. */
const MOST = { own: 256, like: 8, published: 1_000 } as const;

/**
 * What the content of these wanted manifests may build on, image by image. First of its own name and kind: published versions, then
 * those of which the content is not wanted any more (out of scope, deleted, kept aside) and may be on the disk until `gc` takes it; each newest first.
 * Then published images of the same kind and architecture whose names begin with the same word.
 */
export async function relatedManifests(db: Knex, wanted: readonly Digest[], objects: readonly Envelope[]): Promise<Related[]> {
  const bodies = await imagesOf(db, wanted, objects);
  const byName = Map.groupBy(await listVersionsEver(db, [...new Set(bodies.map(({ name }) => name))]), ({ name }) => name);
  const others = await listNewestPublished(db, [...new Set(bodies.map(({ kind }) => kind))], MOST.published);
  return bodies.map((body) => ({ own: ownOf(body, byName.get(body.name) ?? []), like: likeOf(body, others) }));
}

/** The same with published versions of the own name only: their content stays however long the fetching takes. */
export async function relatedPublished(db: Knex, wanted: readonly Digest[], objects: readonly Envelope[]): Promise<Related[]> {
  const bodies = await imagesOf(db, wanted, objects);
  const versions = (await listVersionsEver(db, [...new Set(bodies.map(({ name }) => name))])).filter(isPublished);
  return bodies.map((body) => ({
    own: ownOf(
      body,
      versions.filter(({ name }) => name === body.name),
    ),
    like: [],
  }));
}

const isPublished = ({ state }: VersionRow) => state === 'published';

function ownOf(body: ImageBody, versions: readonly VersionRow[]): Digest[] {
  const own = versions.filter(({ kind }) => kind === body.kind);
  const inOrder = [...own.filter(isPublished), ...own.filter((row) => !isPublished(row))];
  return [...new Set(inOrder.map(({ manifest }) => manifest))].filter((manifest) => manifest !== body.manifest).slice(0, MOST.own);
}

/** The newest of each name. */
function likeOf(body: ImageBody, others: readonly VersionRow[]): Digest[] {
  const like = new Map<string, Digest>();
  for (const { name, kind, arch, manifest } of others) {
    const isLike = kind === body.kind && arch === body.arch && name !== body.name && firstWord(name) === firstWord(body.name);
    if (isLike && !like.has(name)) like.set(name, manifest);
  }
  return [...like.values()].slice(0, MOST.like);
}

/** Up to the first digit or mark: `debian` of `debian12` and `debian-office`. */
function firstWord(name: string): string {
  return /^[a-z]*/.exec(name)?.[0] || name;
}
