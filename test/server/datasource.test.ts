import assert from 'node:assert/strict';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import type { Name } from '../../core/ids.ts';
import {
  addDataSource,
  findDataSource,
  listDataSources,
  parseDatabaseUrl,
  removeDataSource,
  resolveDatabase,
} from '../../server/datasource.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

const SETTINGS = { hosts: ['db1:3306', 'db2'], user: 'ws', name: 'waystation' };

it('keeps a source in a file of its own that only the owner reads', async () => {
  const dir = await temporaryDirectory('source');
  const { path } = await addDataSource(dir, 'main', SETTINGS);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  const places = { env: { WAYSTATION_DATASOURCES: dir } };
  assert.deepEqual((await findDataSource('main' as Name, places))?.settings, SETTINGS);
  await assert.rejects(addDataSource(dir, 'main', SETTINGS), { code: 'name_taken' });
  await removeDataSource('main' as Name, places);
  await assert.rejects(removeDataSource('main' as Name, places), { code: 'not_found' });
  assert.deepEqual(await listDataSources(places), []);
});

it('looks in the data directory before the system', async () => {
  const dataDir = await temporaryDirectory('source');
  const system = await temporaryDirectory('source');
  await addDataSource(system, 'both', { ...SETTINGS, user: 'system' });
  await addDataSource(system, 'system', SETTINGS);
  await addDataSource(join(dataDir, 'datasources.d'), 'both', { ...SETTINGS, user: 'own' });
  const found = await listDataSources({ dataDir, env: { WAYSTATION_DATASOURCES: system } });
  assert.deepEqual(
    found.map(({ name, settings }) => [name, settings.user]),
    [
      ['both', 'own'],
      ['system', 'ws'],
    ],
  );
});

it('resolves a name, settings and a URL to the same connection, with the password from file or environment', async () => {
  const dir = await temporaryDirectory('source');
  await addDataSource(dir, 'main', SETTINGS);
  const env = { WAYSTATION_DATASOURCES: dir, WAYSTATION_DATABASE_PASSWORD: 'from environment' };
  const expected = { kind: 'mysql', ...SETTINGS, password: 'from environment' };
  assert.deepEqual(await resolveDatabase('main', { env }), expected);
  assert.deepEqual(await resolveDatabase(SETTINGS, { env }), expected);
  assert.deepEqual(await resolveDatabase('mysql://ws@db1:3306/waystation', { env }), { ...expected, hosts: ['db1:3306'] });
  const passwordFile = join(dir, 'password');
  await writeFile(passwordFile, 'from file\n');
  assert.deepEqual(await resolveDatabase({ ...SETTINGS, passwordFile }, { env }), { ...expected, password: 'from file' });
});

it('refuses a password in a URL without repeating it', () => {
  assert.throws(
    () => parseDatabaseUrl('mysql://ws:canary@db/waystation'),
    (error: Error & { code: string }) => error.code === 'config' && !JSON.stringify([error.message, error]).includes('canary'),
  );
});

it('tells a percent sign that is no escape as that', () => {
  assert.throws(() => parseDatabaseUrl('mysql://ws%zz@db/waystation'), { code: 'config', message: /"%"/ });
  assert.equal(parseDatabaseUrl('mysql://w%25s@db/waystation').user, 'w%s');
});

it('refuses an unknown name, an unreadable password file, and files with unknown keys', async () => {
  const dir = await temporaryDirectory('source');
  const env = { WAYSTATION_DATASOURCES: dir };
  await assert.rejects(resolveDatabase('nowhere', { env }), { code: 'unknown_data_source', message: /"nowhere"/ });
  await assert.rejects(resolveDatabase('../x', { env }), { code: 'unknown_data_source' });
  const passwordFile = join(dir, 'absent');
  await assert.rejects(resolveDatabase({ ...SETTINGS, passwordFile }, { env }), { code: 'unreadable_secret', message: /absent: ENOENT/ });
  await writeFile(passwordFile, '\n');
  await assert.rejects(resolveDatabase({ ...SETTINGS, passwordFile }, { env }), {
    code: 'unreadable_secret',
    message: /absent: it is empty/,
  });
  await writeFile(join(dir, 'torn.yaml'), 'hosts: [a\n');
  await assert.rejects(resolveDatabase('torn', { env }), { code: 'config', message: /torn\.yaml is not YAML/ });
  await writeFile(join(dir, 'odd.yaml'), 'hosts: [a]\nuser: u\nname: n\npassword: canary\n');
  await assert.rejects(resolveDatabase('odd', { env }), { code: 'config', message: /unknown configuration key "password"/ });
});
