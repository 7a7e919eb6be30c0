import type { Knex } from 'knex';
import type { BackupManifest } from '../../core/backup-file.ts';
import { listTables } from '../db/dialect-sqlite.ts';
import { readSchemaState } from '../db/migrate.ts';
import { getCatalogueNumbers } from '../db/objects.ts';
import { readRows } from '../db/read-rows.ts';
import type { NeededImage } from './needed.ts';
import type { BackupWriter } from './write-file.ts';

/** What runs and approvals work on belongs to a store as it was at that moment: a restored server begins them anew. */
const LEFT_OUT: { readonly [table: string]: readonly string[] } = { runs: ['plan', 'progress'], approvals: ['plan', 'progress'] };

/** Who was signed in signs in again: who signed out since does not come back. */
const NOT_KEPT: readonly string[] = ['console_sessions'];

/** So much is handed on at a time. */
const SLICE_LENGTH = 65_536;

export type Dumped = Pick<BackupManifest, 'schema' | 'epoch' | 'generation'>;

/**
 * Writes every table as JSON lines (one row each, in the order of the key), and the list of images whose content was here, all of
 * one moment: what is written meanwhile is not in it. `onBytes` counts the text.
 */
export function dumpDatabase(db: Knex, writer: BackupWriter, onBytes: (bytes: number) => void): Promise<Dumped> {
  return db.transaction(async (trx) => {
    const numbers = await getCatalogueNumbers(trx);
    const { done } = await readSchemaState(trx);
    for (const table of await listTables(trx)) await addLines(writer, `tables/${table}`, rowsOf(trx, table), onBytes);
    await addLines(writer, 'images', publishedImages(trx), onBytes);
    return { schema: done.at(-1) ?? '', ...numbers };
  });
}

async function* rowsOf(trx: Knex.Transaction, table: string): AsyncGenerator<object> {
  if (NOT_KEPT.includes(table)) return;
  const leftOut = (LEFT_OUT[table] ?? []).map((column) => [column, null]);
  for await (const row of readRows(trx, table)) yield leftOut.length === 0 ? row : { ...row, ...Object.fromEntries(leftOut) };
}

async function* publishedImages(trx: Knex.Transaction): AsyncGenerator<NeededImage> {
  const rows = await trx('images')
    .where({ state: 'published' })
    .orderBy('id')
    .select('id', 'name', 'version', 'origin', 'manifest', 'used_bytes');
  for (const { id, name, version, origin, manifest, used_bytes } of rows)
    yield { id, reference: `${name}@${version}`, origin, manifest, usedBytes: Number(used_bytes) };
}

async function addLines(writer: BackupWriter, name: string, rows: AsyncIterable<object>, onBytes: (bytes: number) => void): Promise<void> {
  let count = 0;
  async function* slices(): AsyncGenerator<Buffer> {
    let text = '';
    for await (const row of rows) {
      text += `${JSON.stringify(row)}\n`;
      count += 1;
      if (text.length < SLICE_LENGTH) continue;
      onBytes(text.length);
      yield Buffer.from(text);
      text = '';
    }
    onBytes(text.length);
    if (text !== '') yield Buffer.from(text);
  }
  await writer.add(name, slices(), { isCompressed: true, rows: () => count });
}
