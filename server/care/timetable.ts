import { setTimeout as pause } from 'node:timers/promises';
import { getSetting, setSetting } from '../db/settings.ts';
import { openCron } from '../schedule/cron.ts';
import type { Site } from '../site.ts';

/** Something that a running server does at set times. */
export type Chore = {
  /** Short: names the setting that keeps when it is due. */
  readonly name: string;
  /** A cron expression, or `off`. */
  readonly schedule: string;
  readonly timezone: string;
  /** How it failed is logged; the next time comes all the same. */
  readonly work: (signal: AbortSignal) => Promise<void>;
};

/** A clock that was set, or a machine that slept, is noticed this late at most. */
const LOOK_AGAIN_MS = 60_000;
/** How long closing waits for a chore that cannot be interrupted. */
const PARTING_MS = 2_000;

/**
 * Does a chore at its times. When it is due is kept in the database: what was missed while no server was up is caught
 * up once, and what a killed server had begun is begun again. It never runs twice at a time.
 */
export function startChore(site: Site, chore: Chore): { readonly close: () => Promise<void> } {
  if (chore.schedule === 'off') return { close: async () => undefined };
  const stopping = new AbortController();
  const loop = repeat(site, chore, stopping.signal);
  return {
    close: async () => {
      stopping.abort();
      // A collection ends when the store is closed, which comes after this.
      await Promise.race([loop, pause(PARTING_MS, undefined, { ref: false })]);
    },
  };
}

async function repeat(site: Site, chore: Chore, signal: AbortSignal): Promise<void> {
  const cron = openCron(chore);
  const key = `care.${chore.name}.${site.self.id}`;
  while (!signal.aborted) {
    try {
      const kept = Number(await getSetting(site.db, key));
      const next = cron.next(site.now());
      // The schedule may have been changed to one that comes sooner.
      const due = Number.isSafeInteger(kept) && kept > 0 ? Math.min(kept, next) : next;
      if (due > site.now()) {
        if (due !== kept) await setSetting(site.db, key, String(due));
        await site.wake.wait(key, Math.min(due - site.now(), LOOK_AGAIN_MS), signal);
        continue;
      }
      await chore.work(signal);
      if (!signal.aborted) await setSetting(site.db, key, String(cron.next(site.now())));
    } catch (error) {
      if (signal.aborted) return;
      site.log.error('a chore of the store failed', { chore: chore.name, error: String(error) });
      // A database that is away is what failed, most likely: the chore stays due.
      await setSetting(site.db, key, String(cron.next(site.now()))).catch(() => undefined);
      await site.wake.wait(key, LOOK_AGAIN_MS, signal);
    }
  }
}
