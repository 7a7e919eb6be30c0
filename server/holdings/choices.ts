import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import { parseName } from '../../core/ids.ts';
import type { Image } from '../../core/image.ts';
import { defaultVersion, previousVersion } from '../../core/version-choice.ts';
import { appendEvent } from '../db/events.ts';
import { getImageChoice, putImageChoice, removeImageChoice } from '../db/image-choices.ts';
import { findImageVersion, getImage, listPublishedVersions, setSiteActivation } from '../db/images.ts';
import { inTransaction } from '../db/open.ts';
import { parseImageReference } from '../images/reference.ts';
import type { Site } from '../site.ts';
import { activateVersion, IMAGES } from './activation.ts';

type ChoiceSite = Pick<Site, 'db' | 'self' | 'now' | 'wake'>;

/*
 * An operator's word on which version of a name this site uses. Each is one transaction with its event; what orders use
 * was resolved when they were made and stays.
 */

/**
 * Makes one version the default of its name until it is unpinned, whatever arrives; its content is kept, also when its
 * origin deletes it. One that is only known here is fetched by the next run, whatever the scope says.
 * Throws `usage` (no version named), `not_found`.
 */
export async function pinImage(site: ChoiceSite, reference: string, actor: string): Promise<Image> {
  return change(site, async (trx) => {
    const image = await findVersion(trx, reference);
    if (image.waiting) await activateVersion(site, trx, image, actor);
    const choice = { name: image.name, mode: 'pinned', imageId: image.id, chosenAt: site.now(), actor } as const;
    await putImageChoice(trx, choice, site.self.id);
    await tell(site, trx, { kind: 'image.pinned', image, actor });
    return (await getImage(trx, image.id)) ?? image;
  });
}

/** Takes a pin or a rollback back; gives the version that is the default now, if any. Throws `not_found` when there is none. */
export async function unpinImage(site: ChoiceSite, name: string, actor: string): Promise<Image | undefined> {
  return change(site, async (trx) => {
    const choice = await getImageChoice(trx, parseName(name));
    if (choice === undefined) throw new AppError('not_found', `image ${name} is neither pinned nor rolled back here`);
    await removeImageChoice(trx, name);
    const event = { origin: site.self.id, at: site.now(), actor, kind: 'image.unpinned', subject: choice.imageId };
    await appendEvent(trx, { ...event, data: { name, mode: choice.mode } });
    return defaultVersion(await listPublishedVersions(trx, name), undefined);
  });
}

/**
 * Makes the version that was the default before the present one the default again, until the next activation of the
 * name or `unpin`. Throws `not_found` without a previous one, `wrong_state` while the name is pinned.
 */
export async function rollbackImage(site: ChoiceSite, name: string, actor: string): Promise<Image> {
  return change(site, async (trx) => {
    const versions = await listPublishedVersions(trx, parseName(name));
    const choice = await getImageChoice(trx, name);
    if (choice?.mode === 'pinned') throw pinned(name);
    const from = defaultVersion(versions, choice);
    const image = previousVersion(versions, choice);
    if (image === undefined || from === undefined) {
      throw new AppError('not_found', `image ${name} has no version here before the present one`, { hint: 'see "sync status"' });
    }
    await putImageChoice(trx, { name, mode: 'rolled-back', imageId: image.id, chosenAt: site.now(), actor }, site.self.id);
    await tell(site, trx, { kind: 'image.rolled-back', image, actor, data: { from: `${name}@${from.version}` } });
    return image;
  });
}

/**
 * Makes a version the default now, or at a time to come (epoch ms; the past counts as now). Until then it is as it was.
 * Throws `usage` (no version named), `not_found`, `wrong_state` while the name is pinned or the content is not here.
 */
export async function activateImage(site: ChoiceSite, reference: string, { at, actor }: { at?: number; actor: string }): Promise<Image> {
  return change(site, async (trx) => {
    const image = await findVersion(trx, reference);
    if ((await getImageChoice(trx, image.name))?.mode === 'pinned') throw pinned(image.name);
    if (at !== undefined && at > site.now()) {
      await setSiteActivation(trx, image.id, at);
      await tell(site, trx, { kind: 'image.activation-set', image, actor, data: { activateAt: new Date(at).toISOString() } });
    } else {
      if (image.state !== 'published') throw notHeld(image);
      await activateVersion(site, trx, image, actor);
    }
    return (await getImage(trx, image.id)) ?? image;
  });
}

async function change<Result>(site: ChoiceSite, work: (trx: Knex.Transaction) => Promise<Result>): Promise<Result> {
  const result = await inTransaction(site.db, work);
  site.wake.notify(IMAGES);
  site.wake.notify('events');
  return result;
}

/** A choice is of one version: "the newest" would be another one tomorrow. */
async function findVersion(db: Knex, text: string): Promise<Image> {
  const { name, version } = parseImageReference(text);
  if (version === undefined) throw new AppError('usage', `name the version too: ${name}@VERSION`, { hint: 'see "image list"' });
  const image = await findImageVersion(db, name, version);
  if (image !== undefined && image.state !== 'incoming') return image;
  throw new AppError('not_found', `there is no image "${name}@${version}" here`, { hint: 'see "image list"' });
}

type Told = { readonly kind: string; readonly image: Image; readonly actor: string; readonly data?: Record<string, string> };

async function tell(site: ChoiceSite, trx: Knex.Transaction, { kind, image, actor, data }: Told): Promise<void> {
  const about = { reference: `${image.name}@${image.version}`, manifest: image.manifest, ...data };
  await appendEvent(trx, { origin: site.self.id, at: site.now(), actor, kind, subject: image.id, data: about });
}

function pinned(name: string): AppError {
  return new AppError('wrong_state', `image ${name} is pinned here`, { hint: `"image unpin ${name}" first, or pin another version` });
}

function notHeld(image: Image): AppError {
  return new AppError('wrong_state', `image ${image.name}@${image.version} is known here, its content is not held`, {
    hint: 'see "sync status"; "image pin" or a wider "sync scope" fetches it with the next run',
  });
}
