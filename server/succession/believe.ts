import type { Knex } from 'knex';
import { appendEvent } from '../db/events.ts';
import { forgetHeld } from '../db/links.ts';
import { setHeldObjects } from '../db/peers.ts';
import { type Succession, saveSuccession, setAdopting } from '../db/successions.ts';
import type { Site } from '../site.ts';

/** The topic that tells that a succession is believed. */
export const SUCCESSION = 'succession';

/**
 * Believes from now on that one server took the place of another: what it made of that one's objects goes before those. What was left out
 * until now comes again: the catalogue is asked for whole. In the caller's transaction, who wakes `SUCCESSION`; true when it is news.
 */
export async function believeSuccession(site: Site, trx: Knex.Transaction, succession: Succession): Promise<boolean> {
  if (!(await saveSuccession(trx, succession))) return false;
  const { predecessor, predecessorName, successor, successorName, ground } = succession;
  if (successor === site.self.id) await setAdopting(trx, predecessor, true);
  else {
    await forgetHeld(trx);
    await setHeldObjects(trx, successor, 0);
  }
  const data = { server: successorName, serverId: successor, insteadOf: predecessorName, ground };
  const event = { origin: site.self.id, at: site.now(), actor: 'system', kind: 'server.succeeded', subject: predecessor, data };
  await appendEvent(trx, event);
  return true;
}
