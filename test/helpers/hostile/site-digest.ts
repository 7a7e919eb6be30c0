import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Site } from '../../../server/site.ts';

/** What replication may change, and a parent that lies may not. */
const TABLES = { objects: 'id', images: 'id', signers: 'key_id' } as const;
/** Of the settings only the numbers: which refusal was told last is one as well. */
const NUMBERS = ['catalogue.epoch', 'catalogue.generation'];
const INDEX = ['packs', 'frames', 'chunks'];

/**
 * One SHA-256 over every file of the store (beginnings of parts under incoming/ left out: see `incomingBytes`), the
 * rows of its index, the objects, images, signers and numbers in the database, and what the link holds.
 */
export async function siteDigest(site: Site): Promise<string> {
  const sum = createHash('sha256');
  const store = join(site.dataDir, 'store');
  for (const name of (await readdir(store, { recursive: true })).sort()) {
    const path = join(store, name);
    if (name.startsWith('index.sqlite') || name.startsWith('incoming') || !(await stat(path)).isFile()) continue;
    sum.update(`${name}\n`).update(await readFile(path));
  }
  const index = new DatabaseSync(join(store, 'index.sqlite'), { readOnly: true });
  for (const table of INDEX) sum.update(rows(index.prepare(`SELECT * FROM ${table} ORDER BY 1, 2`).all()));
  index.close();
  for (const [table, id] of Object.entries(TABLES)) sum.update(rows(await site.db(table).orderBy(id)));
  sum.update(rows(await site.db('settings').whereIn('key', NUMBERS).orderBy('key')));
  sum.update(rows(await site.db('links').orderBy('id').select('id', 'held_epoch', 'held_generation')));
  return sum.digest('hex');
}

/** Octets that lie under DIR/store/incoming. */
export async function incomingBytes(site: Site): Promise<number> {
  const incoming = join(site.dataDir, 'store', 'incoming');
  const names = await readdir(incoming, { recursive: true }).catch(() => []);
  const sizes = await Promise.all(names.map(async (name) => stat(join(incoming, name))));
  return sizes.filter((found) => found.isFile()).reduce((total, found) => total + found.size, 0);
}

function rows(found: readonly unknown[]): string {
  return JSON.stringify(found, (_, value) => (value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value));
}
