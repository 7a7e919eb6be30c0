import type { FoundDamage } from '../../core/content-store.ts';
import type { Digest } from '../../core/ids.ts';
import { appendEvent } from '../db/events.ts';
import { setImageError } from '../db/images.ts';
import { inTransaction } from '../db/open.ts';
import type { Site } from '../site.ts';
import type { Healing } from './heal.ts';
import { type HurtImage, referenceOf } from './lost.ts';

/** Digests that one event names; the count tells of the rest. */
const NAMED = 20;

/** Writes down what a reader found damaged in the store: one event, with the places. */
export function reportDamage(site: Site, { damages, lost }: FoundDamage): Promise<void> {
  const places = damages.slice(0, NAMED).map(({ what, where }) => `${what} ${where}`);
  return write(site, 'store.damaged', site.self.id, { damages: damages.length, places, lost: lost.length, chunks: lost.slice(0, NAMED) });
}

/** One event for each image of which chunks are missing. */
export async function reportHurt(site: Site, hurt: readonly HurtImage[]): Promise<void> {
  for (const { image, digests } of hurt) {
    await write(site, 'image.damaged', image.id, { reference: referenceOf(image), lost: digests.length, chunks: digests.slice(0, NAMED) });
  }
}

/** What a repair came to: `image.healed` for images that are whole again, `image.unhealed` with words for the others. */
export async function reportHealing(site: Site, before: readonly HurtImage[], { hurt, words }: Healing): Promise<void> {
  const still = new Set<string>(hurt.map(({ image }) => image.id));
  for (const { image, digests } of before.filter((was) => !still.has(was.image.id))) {
    await setImageError(site.db, image.id, null);
    await write(site, 'image.healed', image.id, { reference: referenceOf(image), chunks: digests.length });
  }
  for (const { image, digests } of hurt) {
    await setImageError(site.db, image.id, words);
    await write(site, 'image.unhealed', image.id, { reference: referenceOf(image), lost: digests.length, error: words && { ...words } });
  }
}

type Data = Parameters<typeof appendEvent>[1]['data'] & { readonly chunks?: number | readonly Digest[] };

async function write(site: Site, kind: string, subject: string, data: Data): Promise<void> {
  await inTransaction(site.db, async (trx) => {
    await appendEvent(trx, { origin: site.self.id, at: site.now(), actor: 'system', kind, subject, data });
  });
  site.log.warn(kind, { subject, ...data });
  site.wake.notify('events');
}
