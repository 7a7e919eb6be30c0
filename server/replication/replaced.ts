import type { Knex } from 'knex';
import type { Envelope } from '../../core/envelope.ts';
import { appendEvent } from '../db/events.ts';
import { getSetting, setSetting } from '../db/settings.ts';
import { succeeds } from '../db/successions.ts';
import type { Site } from '../site.ts';

type Here = Pick<Site, 'self' | 'now'>;

/** What an event keeps of a body that nobody else has. */
const MOST_KEPT = 8_192;

/**
 * Whether an object of another origin takes the place of the one that is held: when its server took the place of that one's
 * (docs/decisions/0028), whatever the revisions; when each did once, the higher one counts. Everybody else's is left out; that somebody
 * signs what is another server's is an event, once.
 */
export async function replaces(site: Here, trx: Knex, object: Envelope, held: Envelope): Promise<boolean> {
  const isBehind = await succeeds(trx, held.origin, object.origin);
  if (await succeeds(trx, object.origin, held.origin)) return held.revision < object.revision || !isBehind;
  if (!isBehind) await noteDoubted(site, trx, object, held);
  return false;
}

async function noteDoubted(site: Here, trx: Knex, { id, kind, origin }: Envelope, held: Envelope): Promise<void> {
  const key = `doubted.${origin}`;
  if ((await getSetting(trx, key)) === held.origin) return;
  await setSetting(trx, key, held.origin);
  const words = `server ${origin} signs objects of server ${held.origin} as its own, and is not known to have taken its place: they are left out`;
  const hint = 'if it was promoted: join again with a new token from there';
  const event = { origin: site.self.id, at: site.now(), actor: 'system', kind: 'catalogue.doubted', subject: origin };
  await appendEvent(trx, { ...event, data: { words, hint, object: id, kind } });
}

/** Our own object is the successor's now. Where ours was another one, nobody else may have seen it: an event keeps what it was. */
export async function noteTaken(site: Here, trx: Knex, object: Envelope, held: Envelope): Promise<void> {
  if (held.origin !== site.self.id || held.digest === object.digest) return;
  const { kind, revision, body, digest } = held;
  const isShort = JSON.stringify(body).length <= MOST_KEPT;
  const data = { kind, revision, digest, deleted: body === null, by: object.origin, ...(isShort ? { body } : {}) };
  const event = { origin: site.self.id, at: site.now(), actor: 'system', kind: 'object.replaced', subject: held.id };
  await appendEvent(trx, { ...event, data });
}
