import { AppError, type ErrorCode } from '../../core/errors.ts';
import { appendEvent } from '../db/events.ts';
import type { Link } from '../db/links.ts';
import { inTransaction } from '../db/open.ts';
import { deleteSetting, getSetting, setSetting } from '../db/settings.ts';
import type { Site } from '../site.ts';

/** Refusals that a person must look at: the link works, and what comes over it is not to be believed. */
const ALARMS: readonly ErrorCode[] = ['expired', 'mismatch', 'bad_signature'];

/**
 * Judges a catalogue and writes down that it was refused: one event, not one for every run, until one is accepted again.
 * The site goes on with what it has. Throws what `judge` throws.
 */
export async function withAlarm<Verdict>(site: Site, link: Link, judge: () => Promise<Verdict>): Promise<Verdict> {
  try {
    const verdict = await judge();
    if ((await getSetting(site.db, keyOf(link))) !== undefined) await deleteSetting(site.db, keyOf(link));
    return verdict;
  } catch (error) {
    if (error instanceof AppError && ALARMS.includes(error.code)) await raise(site, link, error);
    throw error;
  }
}

async function raise(site: Site, link: Link, { code, message, hint }: AppError): Promise<void> {
  await inTransaction(site.db, async (trx) => {
    if ((await getSetting(trx, keyOf(link))) === code) return;
    await setSetting(trx, keyOf(link), code);
    const event = { origin: site.self.id, at: site.now(), actor: 'system', subject: link.parentId };
    await appendEvent(trx, { ...event, kind: 'catalogue.refused', data: { link: link.id, code, words: message, hint } });
  });
  site.wake.notify('events');
}

function keyOf(link: Link): string {
  return `link.refused.${link.id}`;
}
