import type { Id } from '../../core/ids.ts';
import type { Site } from '../site.ts';
import { SCHEDULES } from './topic.ts';

/** Whether the parent gives us content, as it said last; `at` epoch ms. Kept in memory: it says so again with every poll. */
type Told = { readonly isPaused: boolean; readonly at: number };
type PausedSite = Pick<Site, 'wake' | 'now'>;

const told = new WeakMap<PausedSite['wake'], Map<Id, Told>>();

/** A parent said whether it has paused us. Who rested because it had goes on at once. */
export function noteParentPause(site: PausedSite, parentId: Id, isPaused: boolean): void {
  const known = told.get(site.wake) ?? new Map<Id, Told>();
  told.set(site.wake, known);
  const before = known.get(parentId)?.isPaused;
  known.set(parentId, { isPaused, at: site.now() });
  if (before !== isPaused) site.wake.notify(SCHEDULES);
}

/** What a parent said last; undefined: nothing since we are up, or it is of a release that does not say it. */
export function parentPauseOf({ wake }: Pick<PausedSite, 'wake'>, parentId: Id): Told | undefined {
  return told.get(wake)?.get(parentId);
}
