import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { loadConfig } from '../../../server/config.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';

async function directoryWith(text: string): Promise<string> {
  const dir = await temporaryDirectory('config');
  await writeFile(join(dir, 'waystation.yaml'), text);
  return dir;
}

it('has the defaults of the contract when there is no file', async () => {
  const config = await loadConfig({ dataDir: await temporaryDirectory('config'), env: {} });
  const promised = {
    name: 'waystation',
    httpPort: 80,
    httpsPort: 443,
    tftpPort: 69,
    pxe: 'off',
    interfaces: [],
    database: 'sqlite',
    advertise: {},
    unknownTargets: 'engine',
    idleTargets: 'disk',
    menuSeconds: 10,
    approve: 'auto',
    logLevel: 'info',
    storeReserveBytes: 1_073_741_824,
  };
  assert.deepEqual({ ...config, ...promised }, config);
});

it('takes every setting that is a number from the environment as one', async () => {
  const defaults = await loadConfig({ dataDir: await temporaryDirectory('config'), env: {} });
  for (const [key, value] of Object.entries(defaults)) {
    if (typeof value !== 'number') continue;
    const variable = `WAYSTATION_${key.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
    const config = await loadConfig({ dataDir: await temporaryDirectory('config'), env: { [variable]: '7' } });
    assert.equal(config[key as keyof typeof config], 7, variable);
  }
});

it('takes the flag before the environment before the file before the default', async () => {
  const dataDir = await directoryWith('httpPort: 1\nhttpsPort: 1\ntftpPort: 1\n');
  const env = { WAYSTATION_HTTP_PORT: '2', WAYSTATION_HTTPS_PORT: '2' };
  const config = await loadConfig({ dataDir, env, flags: { httpPort: 3, httpsPort: undefined } });
  assert.deepEqual([config.httpPort, config.httpsPort, config.tftpPort, config.pxe], [3, 2, 1, 'off']);
});

it('merges what is advertised member by member', async () => {
  const dataDir = await directoryWith('advertise:\n  http: http://file\n  tftp: file\n');
  const { advertise } = await loadConfig({ dataDir, env: { WAYSTATION_ADVERTISE_HTTP: 'http://env' } });
  assert.deepEqual(advertise, { http: 'http://env', tftp: 'file' });
});

it('reads lists from the environment and leaves empty variables out', async () => {
  const dataDir = await temporaryDirectory('config');
  const config = await loadConfig({ dataDir, env: { WAYSTATION_INTERFACES: 'eth0, eth1', WAYSTATION_NAME: '' } });
  assert.deepEqual([config.interfaces, config.name], [['eth0', 'eth1'], 'waystation']);
});

it('cannot be changed once it is read', async () => {
  const config = await loadConfig({ dataDir: await temporaryDirectory('config'), env: {} });
  assert.throws(() => Object.assign(config, { httpPort: 1 }), TypeError);
  assert.throws(() => (config.interfaces as string[]).push('eth0'), TypeError);
});

it('names an unknown key of the file, also inside of another one', async () => {
  const unknown = (text: string) => directoryWith(text).then((dataDir) => loadConfig({ dataDir, env: {} }));
  await assert.rejects(unknown('htpPort: 80\n'), { code: 'config', message: /unknown configuration key "htpPort" in .*waystation\.yaml/ });
  await assert.rejects(unknown('advertise:\n  htp: x\n'), { code: 'config', message: /"advertise\.htp"/ });
});

it('names an unknown key of the environment', async () => {
  const dataDir = await temporaryDirectory('config');
  await assert.rejects(loadConfig({ dataDir, env: { WAYSTATION_HTP_PORT: '80' } }), { code: 'config', message: /WAYSTATION_HTP_PORT/ });
});

it('knows which variables are no configuration', async () => {
  const names = ['URL', 'TOKEN', 'DATA', 'ENROL_TOKEN', 'DATABASE_PASSWORD', 'CA_PIN', 'DATASOURCES'];
  const env = Object.fromEntries(names.map((name) => [`WAYSTATION_${name}`, 'x']));
  assert.equal((await loadConfig({ dataDir: await temporaryDirectory('config'), env })).database, 'sqlite');
});

it('refuses values that are not what the key takes, and says which key', async () => {
  const dataDir = await temporaryDirectory('config');
  const wrong = (env: NodeJS.ProcessEnv) => loadConfig({ dataDir, env });
  await assert.rejects(wrong({ WAYSTATION_HTTP_PORT: '70000' }), { code: 'config', message: /httpPort/ });
  await assert.rejects(wrong({ WAYSTATION_HTTP_PORT: 'many' }), { code: 'config', message: /WAYSTATION_HTTP_PORT/ });
  await assert.rejects(wrong({ WAYSTATION_PXE: 'on' }), { code: 'config', message: /pxe/ });
  await assert.rejects(wrong({ WAYSTATION_INTERFACES: '../etc' }), { code: 'config', message: /interfaces/ });
});

it('refuses a file that is not YAML with its place', async () => {
  const dataDir = await directoryWith('a: b: c\n');
  await assert.rejects(loadConfig({ dataDir, env: {} }), { code: 'config', message: /waystation\.yaml is not YAML/ });
});

it('reads the example of the documentation', async () => {
  const example = new URL('../../../docs/examples/waystation.yaml', import.meta.url);
  const dataDir = await directoryWith(await readFile(example, 'utf8'));
  assert.equal((await loadConfig({ dataDir, env: {} })).pxe, 'proxy');
});
