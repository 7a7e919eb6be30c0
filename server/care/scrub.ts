import { appendEvent } from '../db/events.ts';
import { inTransaction } from '../db/open.ts';
import { openScrub, pruneScrubs, type Scrub, updateScrub } from '../db/scrubs.ts';
import type { Site } from '../site.ts';

const MIB = 1024 * 1024;
/** What is read at a time: a tenth of a second of an old disk. */
const SLICE_BYTES = 4 * MIB;
const DAY_MS = 86_400_000;

export type ScrubPace = {
  readonly bytesPerSecond: number;
  /** How much this session reads; it ends earlier when the pass does. */
  readonly shareBytes: number;
  readonly monotonicMs: () => number;
  /** Ends early when the signal aborts. */
  readonly sleep: (ms: number) => Promise<void>;
  readonly signal: AbortSignal;
};

/**
 * Reads a share of the store, going on where the pass under way stands, no faster than told. Where it stands is kept
 * after every slice, so that a killed server reads at most one again. Damage is mended and told by the store itself.
 */
export async function scrubShare(site: Site, pace: ScrubPace): Promise<Scrub> {
  let scrub = await openScrub(site.db, site.self.id, site.now());
  const startedMs = pace.monotonicMs();
  for (let read = 0; read < pace.shareBytes && scrub.endedAt === null && !pace.signal.aborted; ) {
    const slice = await site.store.scrub(scrub.position, Math.min(SLICE_BYTES, pace.shareBytes - read));
    read += slice.bytes;
    const next = await updateScrub(site.db, {
      ...scrub,
      position: slice.next,
      bytes: scrub.bytes + slice.bytes,
      chunks: scrub.chunks + slice.chunks,
      damages: scrub.damages + slice.damages.length,
      endedAt: slice.next === null ? site.now() : null,
    });
    // Somebody else goes on with the pass.
    if (next === undefined) return scrub;
    scrub = next;
    await pace.sleep(delayMs(read, pace.monotonicMs() - startedMs, pace.bytesPerSecond));
  }
  if (scrub.endedAt !== null) await tellEnd(site, scrub);
  return scrub;
}

/** How long to wait until so many bytes were allowed to be read. */
export function delayMs(bytes: number, elapsedMs: number, bytesPerSecond: number): number {
  return Math.max(0, (bytes * 1000) / bytesPerSecond - elapsedMs);
}

/** What a session has to read so that the whole store is read within `days` when sessions are so far apart. */
export function shareOf(storedBytes: number, { days, betweenMs }: { days: number; betweenMs: number }): number {
  return Math.max(SLICE_BYTES, Math.ceil(storedBytes * Math.min(1, betweenMs / (days * DAY_MS))));
}

async function tellEnd(site: Site, { id, bytes, chunks, damages }: Scrub): Promise<void> {
  const event = { origin: site.self.id, at: site.now(), actor: 'system', kind: 'store.scrubbed', subject: id };
  await inTransaction(site.db, async (trx) => {
    await pruneScrubs(trx, site.self.id);
    await appendEvent(trx, { ...event, data: { bytes, chunks, damages } });
  });
  site.wake.notify('events');
}
