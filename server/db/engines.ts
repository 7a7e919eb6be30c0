import type { Knex } from 'knex';
import type { Digest } from '../../core/ids.ts';
import type { Arch } from '../../core/image.ts';

export type Engine = { readonly manifest: Digest; readonly name: string; readonly version: string; readonly arch: Arch };

/** The newest published engine for an architecture, or undefined when this server holds none. */
export async function findNewestEngine(db: Knex, arch: Arch): Promise<Engine | undefined> {
  return db('images')
    .where({ kind: 'engine', arch, state: 'published' })
    .orderBy([
      { column: 'created_at', order: 'desc' },
      { column: 'id', order: 'desc' },
    ])
    .first<Engine | undefined>('manifest', 'name', 'version', 'arch');
}

/** Whether the manifest is that of a published engine: the only images whose files the plain port gives to anybody. */
export async function isPublishedEngine(db: Knex, manifest: Digest): Promise<boolean> {
  return (await db('images').where({ kind: 'engine', state: 'published', manifest }).first('id')) !== undefined;
}
