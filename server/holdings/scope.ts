import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import { isName, printable } from '../../core/ids.ts';
import type { Image } from '../../core/image.ts';
import { isInScope, type Scope } from '../../core/scope.ts';
import { roleOf } from '../../core/version-choice.ts';
import { findNewestEngine } from '../db/engines.ts';
import { appendEvent } from '../db/events.ts';
import { listImageChoices } from '../db/image-choices.ts';
import { listImages, moveImageState } from '../db/images.ts';
import { type Link, updateLinkScope } from '../db/links.ts';
import { inTransaction } from '../db/open.ts';
import type { Site } from '../site.ts';
import { IMAGES } from './activation.ts';

type ScopeSite = Pick<Site, 'db' | 'self' | 'now' | 'wake'>;

/** What a scope would mean for what is known here. */
export type ScopePlan = {
  /** Held copies whose content is given up: to `store gc`, when no order needs it any more. */
  readonly released: readonly Image[];
  /** Known images whose content the next run fetches. */
  readonly fetched: readonly Image[];
};

/**
 * Works out what a scope gives up and what it adds. Never given up: our own images, what an operator chose, the engine
 * that machines boot, and of a name that stays in scope the active version and the one before it. What an active order
 * deploys is given up for new orders only (`listKeptManifests` keeps its content).
 */
export async function planScope(db: Knex, self: { readonly id: string }, scope: Scope): Promise<ScopePlan> {
  const copies = (await listImages(db)).filter(({ origin }) => origin !== self.id);
  const held = copies.filter(({ state }) => state === 'published');
  const choices = await listImageChoices(db);
  const isChosen = (image: Image) => choices.some(({ imageId }) => imageId === image.id);
  const engines = (await Promise.all((['amd64', 'arm64'] as const).map((arch) => findNewestEngine(db, arch)))).map(
    (engine) => engine?.manifest,
  );
  const isKept = (image: Image) => {
    if (isInScope(scope, image) || isChosen(image) || engines.includes(image.manifest)) return true;
    const versions = held.filter(({ name }) => name === image.name);
    if (!versions.some((version) => isInScope(scope, version))) return false;
    const choice = choices.find(({ name }) => name === image.name);
    return ['active', 'previous'].includes(roleOf(image, versions, choice));
  };
  return {
    released: held.filter((image) => !isKept(image)),
    fetched: copies.filter((image) => image.state === 'known' && (isInScope(scope, image) || isChosen(image))),
  };
}

/** Sets of which images a link fetches the content, in one transaction with what that gives up. */
export async function setScope(site: ScopeSite, { link, scope, actor }: { link: Link; scope: Scope; actor: string }): Promise<ScopePlan> {
  checkScope(scope);
  const plan = await inTransaction(site.db, async (trx) => {
    const plan = await planScope(trx, site.self, scope);
    await updateLinkScope(trx, link.id, scope);
    for (const { id } of plan.released) await moveImageState(trx, id, { from: 'published', to: 'known' });
    const data = { scope: JSON.parse(JSON.stringify(scope)), released: plan.released.map(({ name, version }) => `${name}@${version}`) };
    await appendEvent(trx, { origin: site.self.id, at: site.now(), actor, kind: 'link.scope-set', subject: link.id, data });
    return plan;
  });
  site.wake.notify(IMAGES);
  site.wake.notify('events');
  return plan;
}

/** Throws `usage` for what can never match a name or group. */
function checkScope({ names = [], groups = [] }: Scope): void {
  const wrongName = names.find((pattern) => !/^[a-z0-9._*-]{1,63}$/.test(pattern));
  if (wrongName !== undefined) {
    throw new AppError('usage', `"${printable(wrongName)}" is not a pattern of names`, { hint: 'a-z 0-9 . _ - and * for any characters' });
  }
  const wrongGroup = groups.find((group) => !isName(group));
  if (wrongGroup !== undefined)
    throw new AppError('usage', `"${printable(wrongGroup)}" is not a group`, { hint: 'groups are spelled like names' });
}
