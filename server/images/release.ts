import { AppError } from '../../core/errors.ts';
import type { Image, ImageBody, RingRelease } from '../../core/image.ts';
import { publishObject } from '../catalogue.ts';
import { appendEvent } from '../db/events.ts';
import { getImage } from '../db/images.ts';
import { getObject } from '../db/objects.ts';
import { inTransaction } from '../db/open.ts';
import { refuseCopy } from '../owner.ts';
import { CATALOGUE } from '../replication/wait-for-news.ts';
import type { PublishSite } from './publish.ts';
import { resolveImage } from './reference.ts';

/**
 * Releases a version of our own to the sites of a ring and of all lower ones (null: to all), from a time on. It is a
 * new revision of the signed object, so it reaches every site with its next run; content travels before.
 * Throws `not_found`, `not_permitted` for a copy, naming its owner.
 */
export async function releaseImage(
  site: PublishSite,
  reference: string,
  { ring, at, actor }: { ring: number | null; at?: number | undefined; actor: string },
): Promise<Image> {
  const released = await inTransaction(site.db, async (trx) => {
    const image = await resolveImage(trx, reference);
    await refuseCopy({ db: trx, self: site.self }, `image ${image.name}@${image.version}`, image.origin);
    const body = (await getObject(trx, image.id))?.body as ImageBody | null | undefined;
    if (!body) throw new AppError('not_found', `image ${reference} has no object`);
    const rings: RingRelease[] = [...(body.rings ?? []).filter((release) => release.ring !== ring), { ring, at: at ?? site.now() }];
    await publishObject(site, trx, { kind: 'image', id: image.id, body: JSON.parse(JSON.stringify({ ...body, rings })) });
    const data = { reference: `${image.name}@${image.version}`, ring: ring ?? 'all', at: new Date(at ?? site.now()).toISOString() };
    await appendEvent(trx, { origin: site.self.id, at: site.now(), actor, kind: 'image.released', subject: image.id, data });
    return getImage(trx, image.id);
  });
  site.wake.notify('events');
  site.wake.notify(CATALOGUE);
  if (released === undefined) throw new Error(`image ${reference} is gone`);
  return released;
}
