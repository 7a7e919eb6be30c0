import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { resolveDatabase } from '../../../server/datasource.ts';
import type { MysqlConnection } from '../../../server/db/dialect-mysql.ts';
import { connectDatabase, openDatabase, openSharedDatabase } from '../../../server/db/open.ts';
import { emptyDatabase } from '../../helpers/empty-database.ts';
import { type Mariadb, startMariadb } from '../../helpers/mariadb.ts';
import { databaseContract } from './contract.ts';
import { sharedContract } from './shared-contract.ts';

let mariadb: Mariadb;
let dir: string;
const urlOf = (name: string) => `${mariadb.url}${name}?passwordFile=${join(dir, 'password')}`;

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'waystation-mariadb-test-'));
  mariadb = await startMariadb();
  await writeFile(join(dir, 'password'), `${mariadb.password}\n`, { mode: 0o600 });
});
after(async () => {
  await mariadb.stop();
  await rm(dir, { recursive: true, force: true });
});

databaseContract('MariaDB', async () => {
  mariadb.createDatabase('contract');
  return connectDatabase({ database: urlOf('contract') }, dir);
});

sharedContract('MariaDB', async () => {
  mariadb.createDatabase('shared_contract');
  return openSharedDatabase((await resolveDatabase(urlOf('shared_contract'), {})) as MysqlConnection);
});

/** Another server that is there already, MySQL above all; README.md says how it is named. */
const other = process.env['WAYSTATION_TEST_DATABASE'];
if (other !== undefined) {
  databaseContract('WAYSTATION_TEST_DATABASE', async () => connectDatabase({ database: await emptyDatabase(other, 'contract') }, dir));
  sharedContract('WAYSTATION_TEST_DATABASE', async () =>
    openSharedDatabase((await resolveDatabase(await emptyDatabase(other, 'shared'), {})) as MysqlConnection),
  );
}

it('refuses an unmigrated database with words', async () => {
  mariadb.createDatabase('fresh');
  await assert.rejects(openDatabase({ database: urlOf('fresh') }, dir), { code: 'config', hint: 'run waystation migrate' });
});

it('goes on to the next host when one is down', async () => {
  mariadb.createDatabase('hosts');
  const passwordFile = join(dir, 'password');
  const hosts = ['127.0.0.1:1', `127.0.0.1:${mariadb.port}`];
  const db = await connectDatabase({ database: { hosts, user: 'waystation', name: 'hosts', passwordFile } }, dir);
  await db.destroy();
});

it('says that the database refused the user, without the password', async () => {
  await writeFile(join(dir, 'wrong'), 'canary-password');
  const database = `${mariadb.url}nowhere?passwordFile=${join(dir, 'wrong')}`;
  await assert.rejects(connectDatabase({ database }, dir), (error: Error & { code: string }) => {
    assert.equal(error.code, 'config');
    assert.match(error.message, /refused user "waystation"/);
    assert.doesNotMatch(error.message, /canary/);
    return true;
  });
});

it('says that nothing listens there', async () => {
  await assert.rejects(connectDatabase({ database: 'mysql://u@127.0.0.1:1/x' }, dir), { code: 'unreachable', message: /127\.0\.0\.1:1/ });
});
