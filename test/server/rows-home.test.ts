import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Knex } from 'knex';
import { listTables } from '../../server/db/dialect-sqlite.ts';
import { migrateDatabase } from '../../server/db/migrate.ts';
import { connectDatabase } from '../../server/db/open.ts';
import { openSite } from '../../server/open-site.ts';
import { initialisedDirectory } from '../helpers/initialised-directory.ts';
import { startMariadb } from '../helpers/mariadb.ts';
import { CLEAN_ENV, runCli, runJson } from '../helpers/run-cli.ts';

const mariadb = await startMariadb();
after(() => mariadb.stop());

type Home = { readonly dataDir: string; readonly database: { hosts: string[]; user: string; name: string; passwordFile: string } };

/** A directory as release 0.1 left it when `database:` named a MySQL database: all rows there, and no file here. */
async function directoryOf01(name: string): Promise<Home & { there: Knex; tables: string[] }> {
  const { dataDir } = await initialisedDirectory();
  const passwordFile = join(dataDir, '..', 'password');
  await writeFile(passwordFile, mariadb.password, { mode: 0o600 });
  mariadb.createDatabase(name);
  const database = { hosts: [`127.0.0.1:${mariadb.port}`], user: 'waystation', name, passwordFile };
  const [here, there] = [await connectDatabase({ database: 'sqlite' }, dataDir), await connectDatabase({ database }, dataDir)];
  // 0.1 knew this schema and none that came later.
  await migrateDatabase(there, '0001-foundation');
  const tables: string[] = [];
  for (const table of await listTables(here)) {
    if (!(await there.schema.hasTable(table))) continue;
    tables.push(table);
    const columns = Object.keys(await there(table).columnInfo());
    const rows = await here(table).select(columns);
    if (rows.length > 0) await there(table).insert(rows);
  }
  await here.destroy();
  for (const file of ['db.sqlite', 'db.sqlite-wal', 'db.sqlite-shm']) {
    if (existsSync(join(dataDir, file))) await rename(join(dataDir, file), join(dataDir, '..', file));
  }
  const yaml = await readFile(join(dataDir, 'waystation.yaml'), 'utf8');
  await writeFile(join(dataDir, 'waystation.yaml'), yaml.replace(/^database: .*$/m, `database: ${JSON.stringify(database)}`));
  return { dataDir, database, there, tables };
}

test('a server of release 0.1 with its rows in MySQL says what to do, and migrate brings every row home', async () => {
  const { dataDir, there, tables } = await directoryOf01('rows');
  const targets = Array.from({ length: 1203 }, (_, n) => ({
    ...{ id: `0192a0b0-0000-7000-8000-${String(n).padStart(12, '0')}`, name: `box-${n}`, discovered_by: 'boot' },
    ...{ created_at: 2 ** 41 + n, origin: 'o', revision: 1, inventory: n === 7 ? `ü€😀${'x'.repeat(200_000)}` : null },
  }));
  for (let n = 0; n < targets.length; n += 100) await there('targets').insert(targets.slice(n, n + 100));
  const refused = await runCli(['store', 'stats', '--data', dataDir]);
  assert.deepEqual([refused.code, /run waystation migrate/.test(refused.stderr)], [78, true]);
  await assert.rejects(stat(join(dataDir, 'db.sqlite')), { code: 'ENOENT' });
  const { code, document } = await runJson<{ applied: string[]; copied: { table: string; rows: number }[] }>([
    'migrate',
    '--data',
    dataDir,
  ]);
  assert.equal(code, 0, JSON.stringify(document));
  const counts = new Map(document.copied.map(({ table, rows }) => [table, rows]));
  assert.deepEqual([...counts.keys()].sort(), [...tables].sort());
  assert.equal(counts.get('targets'), 1203);
  const site = await openSite({ dataDir, env: CLEAN_ENV });
  const columns = Object.keys(await there('targets').columnInfo());
  const [old, home] = await Promise.all([there, site.db].map((db) => db('targets').orderBy('id').select(columns)));
  assert.deepEqual(
    home?.map((row) => ({ ...row })),
    old?.map((row) => ({ ...row })),
  );
  assert.equal((await site.db('outbox').where({ kind: 'target' })).length, 1203, 'what came later is done to the rows as well');
  assert.equal((await there('targets').count({ n: '*' }).first())?.['n'], 1203, 'the old rows stay where they were');
  await site.close();
  await there.destroy();
  const again = await runJson<{ applied: string[]; copied: unknown[] }>(['migrate', '--data', dataDir]);
  assert.deepEqual([again.document.applied, again.document.copied], [[], []]);
});

test('rows of two servers in one database, and no rows of ours, are refused in words and nothing is made', async () => {
  const { dataDir, there } = await directoryOf01('mixed');
  const [self] = await there('servers').where({ relation: 'self' });
  await there('servers').insert({ ...self, id: '0192a0b0-0000-7000-8000-00000000aaaa', name: 'other' });
  const mixed = await runCli(['migrate', '--data', dataDir]);
  assert.deepEqual([mixed.code, /rows of 2 servers/.test(mixed.stderr)], [78, true]);
  await there('servers').where({ id: self.id }).delete();
  const foreign = await runCli(['migrate', '--data', dataDir]);
  assert.deepEqual([foreign.code, /has the rows of this server/.test(foreign.stderr)], [78, true]);
  for (const name of ['db.sqlite', '.home']) await assert.rejects(stat(join(dataDir, name)), { code: 'ENOENT' });
  await there.destroy();
});
