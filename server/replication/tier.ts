import { AppError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import type { Tier } from '../../core/sync-protocol.ts';
import { type Link, listLinks, updateLinkTier } from '../db/links.ts';
import { findUnfinishedRun } from '../db/runs.ts';
import { getServer } from '../db/servers.ts';
import { IMAGES } from '../holdings/activation.ts';
import type { Site } from '../site.ts';

/** A tree of sites is not deeper; a list that is longer goes in a circle. */
const MOST_ANCESTORS = 32;

/** What a child is told of its place: who is above us, its ring (its own, or ours), whether a run of ours is going. */
export async function describeTier(site: Pick<Site, 'db'>, childId: Id | undefined): Promise<Tier> {
  const [link] = await listLinks(site.db);
  const child = childId === undefined ? undefined : await getServer(site.db, childId);
  return {
    ancestors: link === undefined ? [] : [...aboveUs(link)],
    ring: child?.ring ?? link?.ring ?? null,
    busy: await isBusy(site),
  };
}

/** Whether this server is in the middle of a run of its own: what it has published is about to change. */
export async function isBusy(site: Pick<Site, 'db'>): Promise<boolean> {
  for (const { id } of await listLinks(site.db)) if ((await findUnfinishedRun(site.db, id)) !== undefined) return true;
  return false;
}

/** The parent and all above it, nearest first, as the last catalogue told. */
export function aboveUs(link: Link): readonly Id[] {
  return [link.parentId, ...link.ancestors];
}

/**
 * Takes what the parent told of our place in the tree. Lists travel down one tier with each run, so a circle that several
 * joins made together shows at the latest when it has gone round. Throws `wrong_state` for it: nothing of the catalogue counts.
 */
export async function acceptTier(site: Pick<Site, 'db' | 'self' | 'wake'>, link: Link, tier: Tier | undefined): Promise<void> {
  if (tier === undefined) return;
  const ancestors = tier.ancestors as Id[];
  if (ancestors.includes(site.self.id) || ancestors.length >= MOST_ANCESTORS) {
    const parent = (await getServer(site.db, link.parentId))?.name ?? link.parentId;
    throw new AppError('wrong_state', `the parent ${parent} replicates from this server: the servers form a circle`, {
      hint: 'servers form a tree: join another parent at one of them',
    });
  }
  if (tier.ring === link.ring && JSON.stringify(ancestors) === JSON.stringify(link.ancestors)) return;
  await updateLinkTier(site.db, link.id, { ancestors, ring: tier.ring });
  site.wake.notify(IMAGES);
}
