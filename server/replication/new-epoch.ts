import type { Knex } from 'knex';
import type { Envelope } from '../../core/envelope.ts';
import { appendEvent } from '../db/events.ts';
import type { Link } from '../db/links.ts';
import { listForeignObjects } from '../db/objects.ts';
import type { Site } from '../site.ts';

type Answer = { readonly epoch: number; readonly objects: readonly Envelope[] };

/** As many as an event names; the number is of all. */
const MOST_NAMED = 50;

/**
 * Writes down what is kept although a parent in a new epoch (restored from a backup) does not have it, or has it older or
 * differently: nothing is deleted for being absent, nothing newer is replaced. In the transaction that publishes.
 */
export async function noteKept(site: Site, trx: Knex.Transaction, link: Link, { epoch, objects }: Answer): Promise<void> {
  if (epoch === link.heldEpoch) return;
  const told = new Map(objects.map((object) => [object.id, object]));
  const kept = (await listForeignObjects(trx, site.self.id)).filter((held) => isAhead(held, told.get(held.id)));
  if (kept.length === 0) return;
  const named = kept.slice(0, MOST_NAMED).map((held) => `${nameOf(held)} revision ${held.revision}`);
  const event = { origin: site.self.id, at: site.now(), actor: 'system', subject: link.parentId };
  await appendEvent(trx, { ...event, kind: 'catalogue.kept', data: { link: link.id, epoch, count: kept.length, objects: named } });
}

function isAhead(held: Envelope, told: Envelope | undefined): boolean {
  if (told === undefined) return held.body !== null;
  return held.revision > told.revision || (held.revision === told.revision && held.digest !== told.digest);
}

function nameOf({ kind, id, body }: Envelope): string {
  const { name, version } = (body ?? {}) as { name?: unknown; version?: unknown };
  const called = [name, version].filter((part) => typeof part === 'string').join('@');
  return `${body === null ? 'deletion of ' : ''}${kind} ${called === '' ? id : called}`;
}
