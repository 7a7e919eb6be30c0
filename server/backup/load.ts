import type { Knex } from 'knex';
import { type BackupMember, badBackup } from '../../core/backup-file.ts';
import { AppError } from '../../core/errors.ts';
import { MIGRATIONS } from '../../migrations/index.ts';
import { listTables } from '../db/dialect-sqlite.ts';
import { migrateDatabase } from '../db/migrate.ts';
import { inTransaction } from '../db/open.ts';
import { readLines } from './lines.ts';
import type { OpenedBackup } from './open-file.ts';

const ROWS_AT_ONCE = 50;
const ROWS_PER_TRANSACTION = 2_000;

/** Throws `version_mismatch` for a backup whose schema this release does not know. */
export function refuseNewerSchema({ schema, program }: OpenedBackup): void {
  if (MIGRATIONS.some(({ name }) => name === schema)) return;
  throw new AppError('version_mismatch', `the backup was made by release ${program}, whose schema "${schema}" this one does not know`, {
    hint: 'restore it with that release of waystation or a later one',
  });
}

/** Fills an empty database with the rows of a backup, at the schema that they had, and brings it up to this release. Throws `bad_data` for rows that do not fit. */
export async function loadDatabase(db: Knex, opened: OpenedBackup): Promise<void> {
  await migrateDatabase(db, opened.schema);
  const tables = new Set(await listTables(db));
  const members = opened.members.filter(({ name }) => name.startsWith('tables/'));
  const foreign = members.find(({ name }) => !tables.has(tableOf(name)));
  if (foreign !== undefined) throw badBackup(`it has a table "${tableOf(foreign.name)}", which its schema has not`);
  for (const member of members) await loadTable(db, opened, member);
  await migrateDatabase(db);
}

function tableOf(member: string): string {
  return member.slice('tables/'.length);
}

async function loadTable(db: Knex, opened: OpenedBackup, member: BackupMember): Promise<void> {
  const table = tableOf(member.name);
  // Migrations write rows too; those of the backup count.
  await db(table).delete();
  let loaded = 0;
  let batch: object[] = [];
  const store = async () => {
    const rows = batch;
    batch = [];
    loaded += rows.length;
    await inTransaction(db, (trx) => insertRows(trx, table, rows));
  };
  for await (const row of readLines(opened, member)) {
    batch.push(row);
    if (batch.length === ROWS_PER_TRANSACTION) await store();
  }
  if (batch.length > 0) await store();
  if (loaded !== member.rows) throw badBackup(`${member.name} has ${loaded} rows, its manifest speaks of ${member.rows ?? 'none'}`);
}

async function insertRows(trx: Knex.Transaction, table: string, rows: readonly object[]): Promise<void> {
  try {
    for (let at = 0; at < rows.length; at += ROWS_AT_ONCE) await trx(table).insert(rows.slice(at, at + ROWS_AT_ONCE));
  } catch (error) {
    if (/has no column/.test((error as Error).message)) throw badBackup(`rows of ${table} do not fit its schema`);
    throw error;
  }
}
