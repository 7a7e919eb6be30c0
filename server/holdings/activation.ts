import type { Knex } from 'knex';
import type { Id } from '../../core/ids.ts';
import type { Image } from '../../core/image.ts';
import { nextActivation, opensAt, topActivation } from '../../core/version-choice.ts';
import { appendEvent } from '../db/events.ts';
import { removeImageChoice } from '../db/image-choices.ts';
import { getImage, hideImage, listPendingActivations, listPublishedVersions, showImage } from '../db/images.ts';
import { listLinks } from '../db/links.ts';
import { inTransaction } from '../db/open.ts';
import type { Site } from '../site.ts';

type ActivationSite = Pick<Site, 'db' | 'self' | 'now' | 'wake'>;

/** The topic that tells a running server that versions, their times, or our ring have changed. */
export const IMAGES = 'images';
/** How often we look although nothing was due: the clock may have been set. */
const LOOK_AGAIN_MS = 30_000;

/**
 * Lets a version that is complete here be seen, in the transaction that makes it so: at once, or it waits for its time or
 * its ring. A version that was visible stays so, whatever a later revision of its object says.
 */
export async function admitImage(site: Pick<Site, 'self' | 'now'>, trx: Knex.Transaction, id: Id, wasVisible: boolean): Promise<void> {
  if (wasVisible) return;
  const image = await requireImage(trx, id);
  const opens = opensAt(image, await ringFor(site, trx, image));
  if (opens === null || opens > site.now()) return hideImage(trx, id);
  const others = await listPublishedVersions(trx, image.name);
  await showVersion(trx, image, nextActivation({ ...image, waiting: false }, others));
}

/** Makes a version the default of its name, in the caller's transaction. */
export async function activateVersion(site: Pick<Site, 'self' | 'now'>, trx: Knex.Transaction, image: Image, actor: string): Promise<void> {
  await showVersion(trx, image, topActivation(await listPublishedVersions(trx, image.name)) + 1);
  const data = { reference: `${image.name}@${image.version}`, manifest: image.manifest };
  await appendEvent(trx, { origin: site.self.id, at: site.now(), actor, kind: 'image.activated', subject: image.id, data });
}

/** A rollback holds until the next activation; one that came late (count 0) is none. */
async function showVersion(trx: Knex.Transaction, image: Image, activation: number): Promise<void> {
  await showImage(trx, image.id, activation);
  if (activation > 0) await removeImageChoice(trx, image.name, 'rolled-back');
}

/**
 * Activates what is due, each version in one transaction with its event, in the order of the times; what was due while no
 * server ran is caught up. Gives the time of the next one that is known, or null.
 */
export async function activateDue(site: ActivationSite): Promise<number | null> {
  const pending = await Promise.all(
    (await listPendingActivations(site.db)).map(async (image) => ({ image, at: opensAt(image, await ringFor(site, site.db, image)) })),
  );
  const known = pending.filter((one): one is { image: Image; at: number } => one.at !== null);
  const due = known.filter(({ at }) => at <= site.now()).sort((a, b) => a.at - b.at || a.image.createdAt - b.image.createdAt);
  for (const { image, at } of due) await inTransaction(site.db, (trx) => activateIn(site, trx, image.id, at));
  if (due.length > 0) site.wake.notify('events');
  const later = known.filter(({ at }) => at > site.now()).map(({ at }) => at);
  return later.length === 0 ? null : Math.min(...later);
}

/** Looks again inside the transaction: another process of a shared database may have been first. */
async function activateIn(site: ActivationSite, trx: Knex.Transaction, id: Id, at: number): Promise<void> {
  const image = await getImage(trx, id);
  if (image?.state !== 'published' || (!image.waiting && image.siteActivateAt !== at)) return;
  if (image.siteActivateAt !== null) return activateVersion(site, trx, image, 'schedule');
  // By the object's own word a version never comes before one that is newer and visible.
  await showVersion(trx, image, nextActivation({ ...image, waiting: false }, await listPublishedVersions(trx, image.name)));
  const data = { reference: `${image.name}@${image.version}`, manifest: image.manifest };
  await appendEvent(trx, { origin: site.self.id, at: site.now(), actor: 'schedule', kind: 'image.activated', subject: id, data });
}

/** The ring that binds us for this image: none for our own, the one our parent gave us for all others. */
export async function ringFor(site: Pick<Site, 'self'>, db: Knex, image: Pick<Image, 'origin'>): Promise<number | null | undefined> {
  if (image.origin === site.self.id) return undefined;
  return (await listLinks(db))[0]?.ring ?? null;
}

/** Activates versions at their times while the server runs. */
export function startActivations(site: ActivationSite & Pick<Site, 'log'>): () => Promise<void> {
  const stopping = new AbortController();
  const work = async () => {
    while (!stopping.signal.aborted) {
      const changed = new AbortController();
      const woken = site.wake.wait(IMAGES, 2 ** 30, AbortSignal.any([stopping.signal, changed.signal]));
      const next = await activateDue(site).catch((error) => {
        if (!stopping.signal.aborted) site.log.error('versions could not be activated', { error: String(error) });
        return null;
      });
      const waitMs = Math.min(LOOK_AGAIN_MS, Math.max(1, (next ?? Number.POSITIVE_INFINITY) - site.now()));
      const timer = setTimeout(() => changed.abort(), waitMs);
      await woken;
      clearTimeout(timer);
    }
  };
  const working = work();
  return async () => {
    stopping.abort();
    await working;
  };
}

async function requireImage(db: Knex, id: Id): Promise<Image> {
  const image = await getImage(db, id);
  if (image === undefined) throw new Error(`image ${id} is not where it was just written`);
  return image;
}
