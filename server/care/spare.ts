import { roleOf } from '../../core/version-choice.ts';
import { listImageChoices } from '../db/image-choices.ts';
import { listImages, listKeptManifests, listOrdersOfImage } from '../db/images.ts';
import type { Site } from '../site.ts';
import { referenceOf } from './lost.ts';

/** A version that nothing needs, and what its going would free. */
export type SpareImage = { readonly reference: string; readonly bytes: number; readonly how: string };

/**
 * Versions that could go: neither the default of their name nor the one before it, not waiting, not pinned, in no active
 * order. Nothing here goes by itself. What two of them share is counted for neither.
 */
export async function listSpareImages(site: Site): Promise<readonly SpareImage[]> {
  const published = (await listImages(site.db)).filter(({ state }) => state === 'published');
  const choices = await listImageChoices(site.db);
  const spare = [];
  for (const image of published) {
    const versions = published.filter(({ name }) => name === image.name);
    const choice = choices.find(({ name }) => name === image.name);
    if (choice?.imageId === image.id || roleOf(image, versions, choice) !== 'older') continue;
    if ((await listOrdersOfImage(site.db, image.id)).length === 0) spare.push(image);
  }
  const kept = await listKeptManifests(site.db);
  const spares: SpareImage[] = [];
  for (const image of spare) {
    // The same content under two names or versions goes with neither.
    const hasTwin = published.some(({ id, manifest }) => id !== image.id && manifest === image.manifest);
    const others = hasTwin ? kept : kept.filter((manifest) => manifest !== image.manifest);
    const [weight] = await site.store.weigh([image.manifest], others);
    const isOurs = image.origin === site.self.id;
    const how = isOurs ? `waystation image delete ${referenceOf(image)}` : 'narrow the scope of the link, or let its origin delete it';
    spares.push({ reference: referenceOf(image), bytes: weight?.bytes ?? 0, how });
  }
  return spares;
}
