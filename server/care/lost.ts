import type { Digest } from '../../core/ids.ts';
import type { Image } from '../../core/image.ts';
import { listImages } from '../db/images.ts';
import type { Site } from '../site.ts';

/** An image that is published here and of which chunks are missing. */
export type HurtImage = { readonly image: Image; readonly digests: readonly Digest[] };

/**
 * What is missing of the images that are published here. A page that is missing hides what lies below it: when it is
 * back, more may be missing.
 */
export async function findHurtImages(site: Site): Promise<readonly HurtImage[]> {
  const images = (await listImages(site.db)).filter(({ state }) => state === 'published');
  const manifests = [...new Set(images.map(({ manifest }) => manifest))];
  const lacking = await site.store.lackingOf(manifests);
  if (lacking.length === 0) return [];
  const owners = await site.store.ownersOf(lacking, manifests);
  return images.flatMap((image) => {
    const digests = owners.find(({ manifest }) => manifest === image.manifest)?.digests ?? [];
    return digests.length === 0 ? [] : [{ image, digests }];
  });
}

export function referenceOf({ name, version }: Image): string {
  return `${name}@${version}`;
}

export function countLost(hurt: readonly HurtImage[]): number {
  return new Set(hurt.flatMap(({ digests }) => digests)).size;
}
