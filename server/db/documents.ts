import type { Knex } from 'knex';
import { type PlainDocument, readDocument } from '../../core/document.ts';
import { listObjectsOfKind } from './objects.ts';

/** Every living document of a type that this release knows, oldest id first. There are few: all are read. */
export async function listDocuments(db: Knex): Promise<PlainDocument[]> {
  return (await listObjectsOfKind(db, 'document')).map(readDocument).filter((document) => document !== undefined);
}
