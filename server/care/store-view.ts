import type { StoreStats } from '../../core/content-store.ts';
import { forecastGrowth } from '../../core/forecast.ts';
import { getScrubs, type Scrub } from '../db/scrubs.ts';
import { listStoreSamples } from '../db/store-samples.ts';
import type { Site } from '../site.ts';
import { getHealth, type Health } from './health.ts';

/** The store as `store stats` and the API show it; times ISO 8601. */
export type StoreView = StoreStats & {
  /** What the packs may take; null without a quota. */
  readonly quotaBytes: number | null;
  /** Growth over the recorded days, and when quota or file system is full at that rate; null until two days are recorded. */
  readonly forecast: { readonly bytesPerDay: number; readonly fullAt: string | null } | null;
  readonly scrub: { readonly current: ScrubView | null; readonly last: ScrubView | null };
  readonly lost: Health;
};

export type ScrubView = {
  readonly startedAt: string;
  readonly endedAt: string | null;
  readonly bytes: number;
  readonly chunks: number;
  readonly damages: number;
};

export async function viewStore(site: Site): Promise<StoreView> {
  const stats = await site.store.stats();
  const { storeQuotaBytes, storeReserveBytes } = site.config;
  const room = stats.storedBytes + Math.max(0, stats.freeBytes - storeReserveBytes);
  const limitBytes = storeQuotaBytes === 0 ? room : Math.min(storeQuotaBytes, room);
  const samples = await listStoreSamples(site.db, site.self.id);
  const growth = forecastGrowth(samples, { limitBytes, now: site.now() });
  const { current, last } = await getScrubs(site.db, site.self.id);
  return {
    ...stats,
    quotaBytes: storeQuotaBytes === 0 ? null : storeQuotaBytes,
    forecast: growth === undefined ? null : { bytesPerDay: growth.bytesPerDay, fullAt: timeOf(growth.fullAt) },
    scrub: { current: viewScrub(current), last: viewScrub(last) },
    lost: await getHealth(site),
  };
}

function viewScrub(scrub: Scrub | null): ScrubView | null {
  if (scrub === null) return null;
  const { startedAt, endedAt, bytes, chunks, damages } = scrub;
  return { startedAt: new Date(startedAt).toISOString(), endedAt: timeOf(endedAt), bytes, chunks, damages };
}

function timeOf(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
