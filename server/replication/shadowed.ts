import type { Knex } from 'knex';
import { readDocument } from '../../core/document.ts';
import type { Envelope } from '../../core/envelope.ts';
import { appendEvent } from '../db/events.ts';
import { documentsInForce } from '../documents.ts';
import { describeServer } from '../owner.ts';
import type { Site } from '../site.ts';

/**
 * Writes down which of these documents, just stored, do nothing here because another of their type and name counts: made here,
 * or older. Gives it in words, one for each. In the transaction that publishes.
 */
export async function noteShadowed(site: Site, trx: Knex.Transaction, objects: readonly Envelope[], at: number): Promise<string[]> {
  const documents = objects.flatMap((object) => (object.kind === 'document' ? (readDocument(object) ?? []) : []));
  if (documents.length === 0) return [];
  const inForce = await documentsInForce({ db: trx, self: site.self });
  const told: string[] = [];
  for (const document of documents) {
    const counts = inForce.find(({ type, name }) => type === document.type && name === document.name);
    if (counts === undefined || counts.id === document.id) continue;
    const whose = counts.origin === site.self.id ? 'made here' : `of server ${await describeServer(trx, counts.origin)}`;
    const words = `${document.type} ${document.name} of server ${await describeServer(trx, document.origin)} does nothing here: the one ${whose} counts`;
    const event = { origin: site.self.id, at, actor: 'system', subject: document.id };
    await appendEvent(trx, { ...event, kind: 'document.shadowed', data: { words, inForce: counts.id } });
    told.push(words);
  }
  return told;
}
