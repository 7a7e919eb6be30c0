import type { FoundDamage } from '../../core/content-store.ts';
import type { Digest } from '../../core/ids.ts';
import type { Site } from '../site.ts';
import { type Healing, healStore } from './heal.ts';
import { keepHealth } from './health.ts';
import { findHurtImages, type HurtImage } from './lost.ts';
import { fetchThroughQueue } from './repair-run.ts';
import { reportDamage, reportHealing, reportHurt } from './report.ts';

/** The topic that makes a running server look for what is missing. */
export const LOST_CHUNKS = 'lost-chunks';

const FIRST_RETRY_MS = 60_000;
const LONGEST_RETRY_MS = 3_600_000;
/** With nothing missing: readers tell what they find, this is for what nobody read. */
const LOOK_AGAIN_MS = 86_400_000;

/**
 * Self-repair in a running server. What any reader finds damaged is written down, what is missing of published images is
 * fetched again by itself: at the start, when something was found, and as long as it is not there, with waits that
 * double from a minute to an hour. A machine that asks for what is known to be missing makes it try again, once a minute.
 */
export function startSelfRepair(site: Site): { readonly close: () => Promise<void> } {
  const stopping = new AbortController();
  const work: Work = { found: [], missing: new Set(), triedMs: Number.NEGATIVE_INFINITY };
  const stopListening = site.store.onDamage((damage) => {
    const isNews = damage.damages.length > 0 || damage.lost.some((digest) => !work.missing.has(digest));
    if (damage.damages.length > 0) work.found.push(damage);
    if (isNews || performance.now() - work.triedMs > FIRST_RETRY_MS) site.wake.notify(LOST_CHUNKS);
  });
  const loop = repairUntil(site, work, stopping.signal);
  return {
    close: async () => {
      stopListening();
      stopping.abort();
      await loop;
    },
  };
}

/** What readers found and was not told yet; what the last try left missing, and when it ended (monotonic). */
type Work = { readonly found: FoundDamage[]; missing: ReadonlySet<Digest>; triedMs: number };

async function repairUntil(site: Site, work: Work, signal: AbortSignal): Promise<void> {
  const told = new Map<string, number>();
  for (let failures = 0; !signal.aborted; ) {
    const wait = failures === 0 ? LOOK_AGAIN_MS : Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** (failures - 1));
    const woken = site.wake.wait(LOST_CHUNKS, wait, signal);
    try {
      for (const damage of work.found.splice(0)) await reportDamage(site, damage);
      const hurt = await repairOnce(site, told, signal);
      work.missing = new Set(hurt.flatMap(({ digests }) => digests));
      work.triedMs = performance.now();
      failures = hurt.length === 0 ? 0 : failures + 1;
    } catch (error) {
      failures += 1;
      if (!signal.aborted) site.log.error('self-repair failed', { error: String(error) });
    }
    await woken;
  }
}

/** Gives what stays missing. Each image's loss is told when it grows, not at every look. */
async function repairOnce(site: Site, told: Map<string, number>, signal: AbortSignal): Promise<readonly HurtImage[]> {
  const before = await findHurtImages(site);
  if (before.length === 0) {
    await keepHealth(site, { hurt: [], words: null });
    return [];
  }
  const news = before.filter(({ image, digests }) => (told.get(image.id) ?? 0) < digests.length);
  await reportHurt(site, news);
  const healing: Healing = await healStore(site, fetchThroughQueue(signal));
  if (signal.aborted) return before;
  await reportHealing(site, before, { ...healing, hurt: healing.hurt.filter(isNewsOf(news)) });
  await keepHealth(site, healing);
  told.clear();
  for (const { image, digests } of healing.hurt) told.set(image.id, digests.length);
  return healing.hurt;
}

function isNewsOf(news: readonly HurtImage[]): (hurt: HurtImage) => boolean {
  return ({ image }) => news.some((other) => other.image.id === image.id);
}
