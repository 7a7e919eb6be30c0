import assert from 'node:assert/strict';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, it } from 'node:test';
import { getSharedServer } from '../../server/db/shared/servers.ts';
import { openSite } from '../../server/open-site.ts';
import { startMariadb } from '../helpers/mariadb.ts';
import { CLEAN_ENV, runCli, runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

const mariadb = await startMariadb();
after(() => mariadb.stop());
const dir = await temporaryDirectory('mariadb-cli');
const env = { WAYSTATION_DATASOURCES: join(dir, 'sources') };
const passwordFile = join(dir, 'password');
await writeFile(passwordFile, mariadb.password, { mode: 0o600 });

it('a named data source leads to the shared database: add, test, init, open, migrate', async () => {
  mariadb.createDatabase('central');
  const url = `${mariadb.url}central`;
  assert.equal((await runCli(['datasource', 'add', 'waystation', '--url', url, '--password-file', passwordFile], { env })).code, 0);
  const before = await runJson(['datasource', 'test', 'waystation'], { env });
  assert.deepEqual([before.code, before.document['ok'], before.document['schema']], [0, true, 'empty']);
  const dataDir = join(dir, 'data');
  const made = await runCli(['init', '--data', dataDir, '--name', 'hq'], { env });
  assert.deepEqual([made.code, /using the data source "waystation"/.test(made.stderr)], [0, true]);
  const site = await openSite({ dataDir, env: { ...CLEAN_ENV, ...env } });
  assert.equal(site.self.name, 'hq');
  const row = await site.shared?.read('a test', (db) => getSharedServer(db, site.self.id));
  assert.deepEqual([row?.name, row?.state, row?.heartbeatAt, row?.caPin], ['hq', 'active', null, site.keys.caPin]);
  await site.close();
  assert.equal((await runJson(['datasource', 'test', 'waystation'], { env })).document['schema'], 'current');
  assert.equal((await runCli(['migrate', '--data', dataDir], { env })).code, 0);
  await stat(join(dataDir, 'db.sqlite'));
  assert.ok(!(await readFile(join(dataDir, 'waystation.yaml'), 'utf8')).includes(mariadb.password));
});

it('a name that the shared database knows is refused, and nothing is left of the attempt', async () => {
  const dataDir = join(dir, 'second');
  const { code, stderr } = await runCli(['init', '--data', dataDir, '--name', 'hq', '--database', 'waystation'], { env });
  assert.deepEqual([code, /already .*\(choose another name with --name\)/.test(stderr)], [65, true]);
  await assert.rejects(stat(dataDir), { code: 'ENOENT' });
});

it('a shared database that is away is refused by init before anything is written, and by nothing else', async () => {
  const dataDir = join(dir, 'third');
  const gone = `mysql://u@127.0.0.1:1/x?passwordFile=${passwordFile}`;
  const { code, stderr } = await runCli(['init', '--data', dataDir, '--database', gone], { env });
  assert.deepEqual([code, /127\.0\.0\.1:1: cannot be reached: ECONNREFUSED/.test(stderr)], [69, true]);
  await assert.rejects(stat(dataDir), { code: 'ENOENT' });
  assert.equal((await runCli(['init', '--data', dataDir], { env: {} })).code, 0);
  await writeFile(join(dataDir, 'waystation.yaml'), `name: waystation\ndatabase: ${gone}\n`);
  const migrated = await runJson<{ applied: string[]; note: string }>(['migrate', '--data', dataDir], { env });
  assert.deepEqual([migrated.code, /was left as it is/.test(migrated.document.note)], [0, true]);
  const site = await openSite({ dataDir, env: CLEAN_ENV });
  await site.close();
});

it('a wrong password is a matter of configuration and is not shown', async () => {
  await writeFile(passwordFile, 'canary-wrong');
  const { code, stdout, stderr } = await runCli(['datasource', 'test', 'waystation'], { env });
  assert.deepEqual([code, stdout, /canary/.test(stderr)], [78, '', false]);
  assert.match(stderr, /it refused us: ER_ACCESS_DENIED/);
  const migrated = await runCli(['migrate', '--data', join(dir, 'data')], { env });
  assert.deepEqual([migrated.code, migrated.stdout], [78, '']);
  assert.match(migrated.stderr, /own database is of this release now; the shared database was left as it is: .*ER_ACCESS_DENIED/);
});
