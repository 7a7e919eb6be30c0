import { describeError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import { lockControlMark } from '../db/control-queue.ts';
import { inTransaction } from '../db/open.ts';
import { getPeer } from '../db/peers.ts';
import { listMarks } from '../db/reported.ts';
import { findTargetOrigins } from '../db/shared/reports.ts';
import type { Site } from '../site.ts';
import { takeReports } from './hear.ts';

/**
 * Asks the shared database who has a target of one of these words, and brings what those servers told here; they are heard from
 * then on. For a server with a parent, which hears only of whom it asked something. False when nobody has it, or it cannot be asked.
 */
export async function lookElsewhere(site: Site, words: readonly string[]): Promise<boolean> {
  const { shared } = site;
  if (shared === undefined) return false;
  try {
    const found = await shared.read('looking for a target', (db) => findTargetOrigins(db, words));
    const known: Id[] = [];
    for (const origin of found) if (origin !== site.self.id && (await getPeer(site.db, origin))?.state === 'active') known.push(origin);
    for (const origin of known) {
      await inTransaction(site.db, (trx) => lockControlMark(trx, origin, 'down'));
      const held = (await listMarks(site.db)).find((mark) => mark.origin === origin && mark.stream === 'states')?.seq ?? 0;
      await takeReports(site, shared, { origin, stream: 'states' }, held);
    }
    return known.length > 0;
  } catch (error) {
    site.log.debug('the shared database could not be asked for a target', { error: describeError(error).message });
    return false;
  }
}
