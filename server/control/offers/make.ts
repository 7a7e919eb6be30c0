import type { Knex } from 'knex';
import type { CommandBody, OfferReport } from '../../../core/control-protocol.ts';
import { AppError } from '../../../core/errors.ts';
import type { Id } from '../../../core/ids.ts';
import { appendEvent } from '../../db/events.ts';
import { getImage } from '../../db/images.ts';
import { decideOffer, getOffer, putOffer } from '../../db/offers.ts';
import { inTransaction } from '../../db/open.ts';
import { listServers } from '../../db/servers.ts';
import { resolveImage } from '../../images/reference.ts';
import { describeServer } from '../../owner.ts';
import type { Site } from '../../site.ts';

/**
 * Offers an image that was made here to the servers above: they see it, and fetch it when an operator there approves it.
 * Repeating it is harmless; what was refused is offered again.
 * Errors: those of `resolveImage`; `not_permitted` for a copy, naming its owner; `wrong_state` without a parent.
 */
export async function offerImage(site: Site, reference: string, actor: string): Promise<OfferReport> {
  const image = await resolveImage(site.db, reference);
  if (image.origin !== site.self.id) {
    throw new AppError(
      'not_permitted',
      `image ${reference} was made by server ${await describeServer(site.db, image.origin)} and is a copy here`,
      {
        hint: 'only its own server offers it',
      },
    );
  }
  if (!(await listServers(site.db)).some(({ relation }) => relation === 'parent')) {
    throw new AppError('wrong_state', 'this server has no parent to offer an image to', {
      hint: 'its children get it with their next run',
    });
  }
  await inTransaction(site.db, async (trx) => {
    const now = site.now();
    const known = await getOffer(trx, image.id);
    if (known?.state === 'offered' || known?.state === 'approved' || known?.state === 'published') return;
    await putOffer(trx, { imageId: image.id, origin: site.self.id, now });
    const data = { reference: `${image.name}@${image.version}` };
    await appendEvent(trx, { origin: site.self.id, at: now, actor, kind: 'offer.made', subject: image.id, data });
  });
  site.wake.notify('events');
  const report = await describeOffer(site.db, image.id);
  if (report === null) throw new Error(`offer ${image.id} is not where it was just written`);
  return report;
}

/** An offer as it is told; null when it, or its image, is gone. */
export async function describeOffer(db: Knex, imageId: Id): Promise<OfferReport | null> {
  const offer = await getOffer(db, imageId);
  const image = await getImage(db, imageId);
  if (offer === undefined || image === undefined) return null;
  const { id, name, version, kind, arch, sizeBytes, usedBytes, manifest } = image;
  const { state, words, createdAt } = offer;
  return {
    ...{ id, reference: `${name}@${version}`, kind, arch, sizeBytes, usedBytes, manifest },
    ...{ state, words, createdAt: new Date(createdAt).toISOString() },
  };
}

/** Takes over what was decided above, in the caller's transaction. Throws `not_found`. */
export async function noteDecision(
  site: Site,
  trx: Knex.Transaction,
  decision: CommandBody<'offer.decided'>,
  actor: string,
): Promise<void> {
  const { imageId, state, words } = decision;
  const now = site.now();
  if (!(await decideOffer(trx, { imageId: imageId as Id, state, words }, now))) {
    throw new AppError('not_found', `image ${imageId} is not offered by this server`);
  }
  await appendEvent(trx, { origin: site.self.id, at: now, actor, kind: `offer.${state}`, subject: imageId, data: { words } });
}
