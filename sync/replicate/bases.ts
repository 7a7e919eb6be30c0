import type { Envelope } from '../../core/envelope.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import type { RunTools } from './ports.ts';

/** Manifests on which an archive of one image may build, the best first. */
export type Related = {
  /** Of the image's own name and kind. */
  readonly own: readonly Digest[];
  /** Of images that are like it by name: for an image of which no other version is here. */
  readonly like: readonly Digest[];
};

/** How many of its own versions one image is built on, how many of another name, and manifests in one request: 75 octets each. */
const MOST = { own: 64, like: 2, all: 1_000 } as const;

export type BaseTools = {
  readonly store: Pick<RunTools['store'], 'missingOf'>;
  readonly records: Pick<RunTools['records'], 'relatedManifests'>;
};

/**
 * Manifests here of which an archive of `want` may make use: complete ones, whether anybody wants them still or not. No collection
 * takes them within the hour; who writes them down as needed keeps them longer.
 */
export async function basesFor({ store, records }: BaseTools, want: readonly Digest[], objects: readonly Envelope[]): Promise<Digest[]> {
  const related = await records.relatedManifests(want, objects);
  const candidates = new Set(related.flatMap(({ own, like }) => [...own, ...like]));
  for (const manifest of want) candidates.delete(manifest);
  const here = new Set(await completeOf(store, [...candidates]));
  const chosen = choose(related.map((one) => ({ own: one.own.filter(isIn(here)), like: one.like.filter(isIn(here)) })));
  // Once more, to keep those: what a collection took since the first look is seen to be gone.
  return [...(await completeOf(store, chosen, { areToStay: true }))].sort();
}

const isIn = (here: ReadonlySet<Digest>) => (manifest: Digest) => here.has(manifest);

/** The best of every image before the second best of any. */
function choose(related: readonly Related[]): Digest[] {
  const lists = related.map(({ own, like }) => (own.length > 0 ? own.slice(0, MOST.own) : like.slice(0, MOST.like)));
  const chosen = new Set<Digest>();
  for (let rank = 0; rank < MOST.own; rank++) for (const list of lists) for (const one of list.slice(rank, rank + 1)) chosen.add(one);
  return [...chosen].slice(0, MOST.all);
}

/** Which of these are here whole. One that is damaged is not, and says nothing against the others. */
export async function completeOf(
  store: BaseTools['store'],
  manifests: readonly Digest[],
  options: { readonly areToStay?: boolean } = {},
): Promise<readonly Digest[]> {
  if (manifests.length === 0) return [];
  try {
    return (await store.missingOf(manifests, options)).complete;
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'corrupt') throw error;
    if (manifests.length === 1) return [];
    const each: Digest[] = [];
    for (const manifest of manifests) each.push(...(await completeOf(store, [manifest], options)));
    return each;
  }
}
