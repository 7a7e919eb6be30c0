import type { Site } from '../site.ts';
import { answerWishes } from './answer-wishes.ts';
import { followSuccessions } from './follow-successions.ts';
import { followWish, nothingPending, type Pending } from './follow-wish.ts';
import type { Shared } from './open.ts';
import { followRegistry, nothingSeen, type Seen } from './registry.ts';

/** What a running server has seen of the others that meet in the database, and what of it is done. */
export type Meeting = { readonly seen: Seen; readonly pending: Pending; isSettled: boolean };

export function startMeeting(): Meeting {
  return { seen: nothingSeen(), pending: nothingPending(), isSettled: false };
}

/**
 * Looks who is there and who is whose parent, and answers. What fails is done again the next time, and what was done before it is not:
 * only the number of the newest change is forgotten then, because a database that was lost may have given it again.
 */
export async function meet(site: Site, shared: Shared, meeting: Meeting): Promise<void> {
  const { seen, pending } = meeting;
  const { wholeAt } = seen;
  try {
    await followRegistry(site, shared, seen);
    // A promotion changes the registry.
    if (seen.wholeAt !== wholeAt) meeting.isSettled = false;
    await answerWishes(site, shared, [...seen.unanswered.values()]);
    seen.unanswered.clear();
    if (!meeting.isSettled) meeting.isSettled = await followSuccessions(site, shared);
    await followWish(site, shared, seen.own, pending);
  } catch (error) {
    seen.number = undefined;
    throw error;
  }
}
