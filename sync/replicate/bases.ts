import type { Envelope } from '../../core/envelope.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import type { RunTools } from './ports.ts';

/** How many others one image is built on, and how many manifests a request names: 75 octets each. */
const MOST = { ofOne: 64, all: 1_000 } as const;

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
  const candidates = new Set(related.flat());
  for (const manifest of want) candidates.delete(manifest);
  const here = new Set(await completeOf(store, [...candidates]));
  const chosen = choose(related.map((list) => list.filter((manifest) => here.has(manifest)).slice(0, MOST.ofOne)));
  // Once more, to keep those: what a collection took since the first look is seen to be gone.
  return [...(await completeOf(store, chosen, { areToStay: true }))].sort();
}

/** The best of every image before the second best of any. */
function choose(lists: readonly (readonly Digest[])[]): Digest[] {
  const chosen = new Set<Digest>();
  for (let rank = 0; rank < MOST.ofOne; rank++) for (const list of lists) for (const one of list.slice(rank, rank + 1)) chosen.add(one);
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
