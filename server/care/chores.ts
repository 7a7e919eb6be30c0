import { setTimeout as pause } from 'node:timers/promises';
import { AppError } from '../../core/errors.ts';
import { appendEvent } from '../db/events.ts';
import { inTransaction } from '../db/open.ts';
import { putStoreSample } from '../db/store-samples.ts';
import { collectGarbage } from '../images/content.ts';
import { openCron } from '../schedule/cron.ts';
import type { Site } from '../site.ts';
import { getQuota } from './quota.ts';
import { scrubShare, shareOf } from './scrub.ts';
import { startSelfRepair } from './self-repair.ts';
import { startChore } from './timetable.ts';

const MB = 1_000_000;
/** A store that is fuller than this collects without waiting for its time. */
const PRESSED = 0.95;
const EVERY_HOUR = '17 * * * *';

/**
 * What a running server does for its store by itself: it mends what is damaged, reads everything again within the
 * configured days, frees what nobody needs, and measures how it grows. DIR/lock makes it the only one.
 */
export function startCare(site: Site): { readonly close: () => Promise<void> } {
  const { scrubSchedule, gcSchedule, maintenanceTimezone: timezone } = site.config;
  const parts = [
    startSelfRepair(site),
    startChore(site, { name: 'scrub', schedule: scrubSchedule, timezone, work: (signal) => scrub(site, signal) }),
    startChore(site, { name: 'gc', schedule: gcSchedule, timezone, work: () => collect(site, 'schedule') }),
    startChore(site, { name: 'sample', schedule: EVERY_HOUR, timezone: 'UTC', work: () => measure(site) }),
  ];
  return {
    close: async () => {
      await Promise.all(parts.map((part) => part.close()));
    },
  };
}

async function scrub(site: Site, signal: AbortSignal): Promise<void> {
  const { scrubSchedule, scrubRateMbPerSecond, scrubDays, maintenanceTimezone } = site.config;
  const betweenMs = openCron({ schedule: scrubSchedule, timezone: maintenanceTimezone }).next(site.now()) - site.now();
  const { storedBytes } = await site.store.stats();
  await scrubShare(site, {
    bytesPerSecond: scrubRateMbPerSecond * MB,
    shareBytes: shareOf(storedBytes, { days: scrubDays, betweenMs }),
    monotonicMs: () => performance.now(),
    // A sleep that was cut short is over: the loop looks at the signal.
    sleep: (ms) => pause(ms, undefined, { signal }).catch(() => undefined),
    signal,
  });
}

/** Frees what no image, order, pin or run needs, and writes down what went. */
export async function collect(site: Site, why: 'schedule' | 'pressure'): Promise<void> {
  try {
    const { freedBytes, freedChunks } = await collectGarbage(site, { dryRun: false });
    if (freedChunks === 0) return;
    const event = { origin: site.self.id, at: site.now(), actor: 'system', kind: 'store.collected', subject: site.self.id };
    await inTransaction(site.db, async (trx) => {
      await appendEvent(trx, { ...event, data: { why, freedBytes, freedChunks } });
    });
    site.wake.notify('events');
  } catch (error) {
    // An operator is at it: what this one would have freed goes with his.
    if (!(error instanceof AppError && error.code === 'busy')) throw error;
  }
}

/** Writes down what the store holds; collects at once when quota or file system are nearly full. */
export async function measure(site: Site): Promise<void> {
  const { storedBytes, freeBytes } = await site.store.stats();
  await putStoreSample(site.db, site.self.id, { at: site.now(), usedBytes: storedBytes });
  const quota = await getQuota(site);
  const isPressed = freeBytes < site.config.storeReserveBytes || (quota !== undefined && quota.usedBytes > quota.limitBytes * PRESSED);
  if (isPressed) await collect(site, 'pressure');
}
