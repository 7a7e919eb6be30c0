import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { newId } from '../../../core/ids.ts';
import { SHARED_MIGRATIONS } from '../../../migrations/shared/index.ts';
import { readGrants } from '../../../server/db/dialect-examine.ts';
import type { MysqlConnection } from '../../../server/db/dialect-mysql.ts';
import { initialise } from '../../../server/initialise.ts';
import { complaintsAbout, examineShared } from '../../../server/shared/examine.ts';
import { openShared } from '../../../server/shared/open.ts';
import { createAuthority, issueServerLeaf } from '../../../server/trust/certificates.ts';
import { eventually } from '../../helpers/control-sites.ts';
import { startMariadb } from '../../helpers/mariadb.ts';
import { CLEAN_ENV, runCli, runJson } from '../../helpers/run-cli.ts';
import { rowOf, startSharedNode } from '../../helpers/shared-sites.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';

const root = await temporaryDirectory('shared-rights');
const [ca, foreign] = [await createAuthority(newId(), Date.now()), await createAuthority(newId(), Date.now())];
const leaf = await issueServerLeaf(ca, newId(), Date.now());
const files = { ca: ca.certificatePem, 'foreign-ca': foreign.certificatePem, cert: leaf.certificatePem, key: leaf.keyPem };
for (const [name, text] of Object.entries(files)) await writeFile(join(root, `${name}.pem`), text, { mode: 0o600 });
const mariadb = await startMariadb([`--ssl-cert=${join(root, 'cert.pem')}`, `--ssl-key=${join(root, 'key.pem')}`]);
after(() => mariadb.stop());

/** The statements of docs/operations.md that make the accounts, with the passwords of this test. */
async function grantsOfTheManual(): Promise<string[]> {
  const text = await readFile(new URL('../../../docs/operations.md', import.meta.url), 'utf8');
  const block = /```sql\n([\s\S]*?)```/.exec(text.slice(text.indexOf('## One shared database')))?.[1] ?? '';
  return block
    .split(';')
    .map((statement) => statement.replace(/--.*$/gm, '').trim())
    .filter((statement) => statement !== '')
    .map((statement) => statement.replace(/IDENTIFIED BY '[^']*'/i, "identified by 'secret'"));
}

const connectionOf = (user: string, more: Partial<MysqlConnection> = {}): MysqlConnection => ({
  ...{ kind: 'mysql', hosts: [`127.0.0.1:${mariadb.port}`], user, name: 'waystation', password: 'secret', ca: join(root, 'ca.pem') },
  ...more,
});

test('servers work with exactly the rights that the manual grants, and the tables are made with its other account', async () => {
  const statements = await grantsOfTheManual();
  assert.ok(statements.length >= 4, statements.join('; '));
  mariadb.sql(statements.join(';'));
  const passwordFile = join(root, 'password');
  await writeFile(passwordFile, 'secret', { mode: 0o600 });
  const database = {
    hosts: [`127.0.0.1:${mariadb.port}`],
    user: 'waystation_server',
    name: 'waystation',
    passwordFile,
    ca: join(root, 'ca.pem'),
  };
  const tooEarly = initialise({ dataDir: join(root, 'early'), flags: { name: 'early', database }, env: CLEAN_ENV });
  await assert.rejects(tooEarly, { code: 'config', message: /it refused us: ER_TABLEACCESS_DENIED_ERROR/ });
  const prepare = ['datasource', 'prepare', 'setup'];
  const env = { WAYSTATION_DATASOURCES: join(root, 'sources'), WAYSTATION_DATABASE_PASSWORD: 'secret' };
  const url = `mysql://waystation_setup@127.0.0.1:${mariadb.port}/waystation`;
  await runCli(['datasource', 'add', 'setup', '--url', url, '--ca', join(root, 'ca.pem')], { env });
  assert.deepEqual((await runJson(prepare, { env })).document, {
    name: 'setup',
    applied: SHARED_MIGRATIONS.map(({ name }) => name),
  });
  assert.deepEqual((await runJson(prepare, { env })).document['applied'], []);
  const node = await startSharedNode(root, 'hq', database);
  await eventually('a heartbeat', async () => (await rowOf(node.site))?.heartbeatAt);
  await eventually('the lease', async () => (await node.site.shared?.read('a test', (db) => db('shared_leases').first('holder')))?.holder);
  await assert.rejects(
    node.site.shared?.write('a test', (trx) => trx.schema.dropTable('shared_events'), 'repeat') ?? Promise.resolve(),
    /ER_TABLEACCESS_DENIED|refused us/,
  );
  await node.close();
});

test('datasource test tells version, rights, latency and the cipher', async () => {
  const env = { WAYSTATION_DATASOURCES: join(root, 'sources'), WAYSTATION_DATABASE_PASSWORD: 'secret' };
  const url = (user: string) => `mysql://${user}@127.0.0.1:${mariadb.port}/waystation`;
  for (const user of ['waystation_server', 'waystation_setup', 'waystation_reader']) {
    const name = user.replace('_', '-');
    await runCli(['datasource', 'add', name, '--url', url(user), '--ca', join(root, 'ca.pem')], { env });
  }
  type Found = {
    ok: boolean;
    tls: string;
    latencyMs: number;
    version: string;
    rights: { lacking: string[]; maySetUp: boolean };
    complaints: string[];
  };
  const worker = await runJson<Found>(['datasource', 'test', 'waystation-server'], { env });
  assert.equal(worker.code, 0, JSON.stringify(worker.document));
  const { ok, tls, latencyMs, version, rights } = worker.document;
  assert.ok(ok && /^(TLS_|ECDHE)/.test(tls) && latencyMs > 0 && /MariaDB/.test(version));
  assert.deepEqual(rights, { lacking: [], maySetUp: false });
  assert.deepEqual((await runJson<Found>(['datasource', 'test', 'waystation-setup'], { env })).document.rights.maySetUp, true);
  mariadb.sql("create user waystation_reader@'%' identified by 'secret'; grant select on waystation.* to waystation_reader@'%'");
  const reader = await runJson<Found>(['datasource', 'test', 'waystation-reader'], { env });
  assert.deepEqual([reader.code, reader.document.complaints], [78, ['the account lacks INSERT, UPDATE, DELETE on the database']]);
  assert.match((await runCli(['datasource', 'test', 'waystation-reader'], { env })).stdout, /ATTENTION: +the account lacks INSERT/);
});

test('a certificate of another CA is refused in words, and a CA file that is not there', async () => {
  const wrong = examineShared(connectionOf('waystation_server', { ca: join(root, 'foreign-ca.pem') }));
  await assert.rejects(wrong, { code: 'config', message: /its certificate is not accepted/ });
  const examined = await examineShared(connectionOf('waystation_server'));
  assert.deepEqual([complaintsAbout(examined), examined.schema], [[], 'current']);
  assert.throws(() => openShared(connectionOf('waystation_server', { ca: join(root, 'absent.pem') }), Date.now), {
    code: 'config',
    message: /absent\.pem/,
  });
  mariadb.sql('set global require_secure_transport = 1');
  const { ca: _ca, ...plain } = connectionOf('waystation_server');
  await assert.rejects(examineShared(plain as MysqlConnection), { code: 'config', hint: /"ca"/ });
});

test('grants are read as MariaDB and MySQL write them', () => {
  const rights = (...lines: string[]) => readGrants(lines, 'way_station');
  assert.deepEqual(
    [
      ...(rights("GRANT USAGE ON *.* TO `x`@`%` IDENTIFIED BY PASSWORD '*A'", 'GRANT SELECT, INSERT ON `way\\_station`.* TO `x`@`%`') ??
        []),
    ],
    ['USAGE', 'SELECT', 'INSERT'],
  );
  assert.ok(rights('GRANT ALL PRIVILEGES ON `way_station`.* TO `x`@`%`')?.has('CREATE'));
  assert.deepEqual([...(rights('GRANT SELECT ON `other`.* TO `x`@`%`') ?? [])], []);
  assert.equal(rights('GRANT `role`@`%` TO `x`@`%`'), null);
});
