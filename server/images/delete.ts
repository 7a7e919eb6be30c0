import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import type { Image } from '../../core/image.ts';
import { publishObject } from '../catalogue.ts';
import { appendEvent } from '../db/events.ts';
import { listOrdersOfImage, markImageDeleted } from '../db/images.ts';
import { inTransaction } from '../db/open.ts';
import { passNamesOn } from '../db/replicas.ts';
import { refuseCopy } from '../owner.ts';
import { CATALOGUE } from '../replication/wait-for-news.ts';
import type { PublishSite } from './publish.ts';
import { resolveImage } from './reference.ts';

/**
 * Deletes an image of our own: a tombstone takes its object's place and travels to the children as the image did.
 * The content stays until `store gc`. An image of another server that waits for its name gets it with the next run. Throws `not_found`; `not_permitted` for a copy of another server's image,
 * naming that server; `busy` while an order needs it.
 */
export async function deleteImage(site: PublishSite, reference: string, actor: string): Promise<Image> {
  const image = await inTransaction(site.db, (trx) => deleteIn(site, trx, reference, actor));
  site.wake.notify('events');
  site.wake.notify(CATALOGUE);
  return { ...image, state: 'deleted' };
}

async function deleteIn(site: PublishSite, trx: Knex.Transaction, reference: string, actor: string): Promise<Image> {
  const image = await resolveImage(trx, reference);
  await refuseCopy({ db: trx, self: site.self }, `image ${image.name}@${image.version}`, image.origin);
  await refuseNeeded(trx, image);
  await publishObject(site, trx, { kind: 'image', id: image.id, body: null });
  await markImageDeleted(trx, image.id);
  await passNamesOn(trx);
  const data = { reference: `${image.name}@${image.version}`, manifest: image.manifest };
  await appendEvent(trx, { origin: site.self.id, at: site.now(), actor, kind: 'image.deleted', subject: image.id, data });
  return image;
}

async function refuseNeeded(db: Knex, image: Image): Promise<void> {
  const [order] = await listOrdersOfImage(db, image.id);
  if (order === undefined) return;
  throw new AppError('busy', `image ${image.name}@${image.version} is needed by order ${order}`, {
    hint: `wait for its end, or stop it with "order stop ${order}"`,
  });
}
