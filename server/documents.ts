import type { Knex } from 'knex';
import { type DocumentType, type PlainDocument, parseContent, parseDocumentType, readDocument } from '../core/document.ts';
import { AppError } from '../core/errors.ts';
import { type Name, parseName, printable } from '../core/ids.ts';
import { publishObject } from './catalogue.ts';
import { listDocuments } from './db/documents.ts';
import { appendEvent } from './db/events.ts';
import { lockCatalogue } from './db/objects.ts';
import { inTransaction } from './db/open.ts';
import { refuseCopy } from './owner.ts';
import type { Site } from './site.ts';

type DocumentSite = Pick<Site, 'db' | 'self' | 'keys' | 'now' | 'wake'>;
type Change = { readonly type: string; readonly name: string; readonly actor: string };

/** The documents in force: of several with one type and name ours counts, else the oldest. Sorted by type and name. */
export async function documentsInForce(site: { readonly db: Knex; readonly self: Site['self'] }): Promise<PlainDocument[]> {
  const byName = new Map<string, PlainDocument>();
  for (const document of await listDocuments(site.db)) {
    const key = `${document.type} ${document.name}`;
    const isOurs = document.origin === site.self.id;
    if (!byName.has(key) || (isOurs && byName.get(key)?.origin !== site.self.id)) byName.set(key, document);
  }
  return [...byName.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, document]) => document);
}

/** Throws `usage` (type, name), `not_found`. */
export async function getDocument(site: Pick<Site, 'db' | 'self'>, type: string, name: string): Promise<PlainDocument> {
  const found = await findInForce(site, parseDocumentType(type), parseName(name));
  if (found !== undefined) return found;
  throw new AppError('not_found', `there is no ${printable(type)} "${printable(name)}"`, { hint: 'waystation document list' });
}

/**
 * Makes a document of ours or gives it new content; children have it after their next run. Throws `usage` for content that
 * is not of the type, and `not_permitted` for a document that another server made.
 */
export async function setDocument(site: DocumentSite, { type, name, actor }: Change, content: unknown): Promise<PlainDocument> {
  const kind = parseDocumentType(type);
  const called = parseName(name);
  const checked = parseContent(kind, called, content);
  const made = await inTransaction(site.db, async (trx) => {
    await lockCatalogue(trx);
    const held = await ownInForce(site, trx, kind, called);
    const id = held === undefined ? {} : { id: held.id };
    const envelope = await publishObject(site, trx, { kind: 'document', ...id, body: { type: kind, name: called, content: checked } });
    await note(site, trx, { actor, kind: 'document.set', subject: envelope.id, data: { type: kind, name: called } });
    return envelope;
  });
  site.wake.notify('events');
  return readDocument(made) as PlainDocument;
}

/** A tombstone takes its place, here and at the children. Throws `not_found`, `not_permitted` for another server's. */
export async function deleteDocument(site: DocumentSite, { type, name, actor }: Change): Promise<PlainDocument> {
  const kind = parseDocumentType(type);
  const deleted = await inTransaction(site.db, async (trx) => {
    await lockCatalogue(trx);
    const held = await ownInForce(site, trx, kind, parseName(name));
    if (held === undefined) return getDocument({ db: trx, self: site.self }, type, name);
    await publishObject(site, trx, { kind: 'document', id: held.id, body: null });
    await note(site, trx, { actor, kind: 'document.deleted', subject: held.id, data: { type: kind, name: held.name } });
    return held;
  });
  site.wake.notify('events');
  return deleted;
}

async function findInForce(site: Pick<Site, 'db' | 'self'>, type: DocumentType, name: Name): Promise<PlainDocument | undefined> {
  return (await documentsInForce(site)).find((document) => document.type === type && document.name === name);
}

async function ownInForce(site: DocumentSite, trx: Knex.Transaction, type: DocumentType, name: Name): Promise<PlainDocument | undefined> {
  const held = await findInForce({ db: trx, self: site.self }, type, name);
  if (held !== undefined) await refuseCopy({ db: trx, self: site.self }, `${type} ${name}`, held.origin);
  return held;
}

async function note(
  site: DocumentSite,
  trx: Knex.Transaction,
  event: Pick<Parameters<typeof appendEvent>[1], 'actor' | 'kind' | 'subject' | 'data'>,
): Promise<void> {
  await appendEvent(trx, { origin: site.self.id, at: site.now(), ...event });
}
