import type { News } from '../../core/sync-protocol.ts';
import { getCatalogueNumbers } from '../db/objects.ts';
import type { Site } from '../site.ts';
import { isBusy } from './tier.ts';

/** The topic that tells waiting children that our catalogue has changed, or that a run of ours has ended. */
export const CATALOGUE = 'catalogue';
/** A wake-up may be lost, and another server of a shared database gives none. */
const LOOK_EVERY_MS = 5_000;

export type NewsQuery = {
  readonly epoch: number;
  readonly since: number;
  /** Waits for the end of a run of ours instead. */
  readonly settled: boolean;
  readonly timeoutMs: number;
};

/** Resolves when our catalogue is past `since` (`settled`: when no run of ours is going), after `timeoutMs`, or when the child goes. */
export async function waitForNews(site: Site, query: NewsQuery, signal: AbortSignal): Promise<News> {
  const endsMs = performance.now() + query.timeoutMs;
  for (;;) {
    const left = endsMs - performance.now();
    const changed = site.wake.wait(CATALOGUE, Math.min(LOOK_EVERY_MS, Math.max(1, left)), signal);
    const numbers = await getCatalogueNumbers(site.db);
    const busy = await isBusy(site);
    const isNews = numbers.epoch !== query.epoch || numbers.generation > query.since;
    const isDue = query.settled ? !busy : isNews;
    if (isDue || left <= 0 || signal.aborted) return { ...numbers, busy };
    await changed;
  }
}
