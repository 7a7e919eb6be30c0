import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { appendFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { it } from 'node:test';
import type { Mac } from '../../core/ids.ts';
import { OPTION } from '../../server/dhcp/options.ts';
import type { DhcpPacket } from '../../server/dhcp/packet.ts';
import { judge } from '../../server/doctor/dhcp.ts';
import type { Finding } from '../../server/doctor/finding.ts';
import { isOlder, parseVersion } from '../../server/doctor/programs.ts';
import { takeLock } from '../../server/lock.ts';
import { initialisedDirectory } from '../helpers/initialised-directory.ts';
import { runCli, runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

const freePorts = { WAYSTATION_HTTP_PORT: '0', WAYSTATION_HTTPS_PORT: '0', WAYSTATION_TFTP_PORT: '0' };

async function doctor(
  dataDir: string,
  env: NodeJS.ProcessEnv = {},
): Promise<{ code: number; find: (name: string) => Finding | undefined }> {
  const { code, document } = await runJson<{ items: Finding[] }>(['doctor', '--data', dataDir], { env });
  for (const { state, hint } of document.items) assert.equal(state === 'ok', hint === null);
  return { code, find: (name) => document.items.find((item) => item.name === name) };
}

it('finds a healthy directory healthy and leaves it as it was', async () => {
  const { dataDir } = await initialisedDirectory();
  const { code, find } = await doctor(dataDir);
  assert.equal(code, 0);
  for (const name of [
    'node',
    'data directory',
    'configuration',
    'port 0/tcp',
    'program rsync',
    'disk rights',
    'keys',
    'database',
    'DHCP servers',
  ]) {
    assert.equal(find(name)?.state, 'ok', name);
  }
  (await takeLock(dataDir)).release();
  const { stdout } = await runCli(['doctor', '--data', dataDir]);
  assert.match(stdout, /^ok {4}node: /);
});

it('works before init and says to run it', async () => {
  const { code, find } = await doctor(join(await temporaryDirectory('doctor'), 'absent'), freePorts);
  assert.deepEqual([code, find('data directory')?.state], [0, 'warn']);
  assert.match(find('data directory')?.hint ?? '', /waystation init/);
});

it('names ports that others hold', async () => {
  const { dataDir } = await initialisedDirectory();
  const tcp = createServer().listen(0);
  await once(tcp, 'listening');
  const udp = createSocket('udp4').bind(0);
  await once(udp, 'listening');
  const [http, tftp] = [(tcp.address() as AddressInfo).port, udp.address().port];
  try {
    const { code, find } = await doctor(dataDir, { WAYSTATION_HTTP_PORT: `${http}`, WAYSTATION_TFTP_PORT: `${tftp}` });
    assert.deepEqual([code, find(`port ${http}/tcp`)?.state, find(`port ${tftp}/udp`)?.state], [78, 'fail', 'fail']);
  } finally {
    tcp.close();
    udp.close();
  }
});

it('names missing programs with the package to install', async () => {
  const { dataDir } = await initialisedDirectory();
  const { code, find } = await doctor(dataDir, { PATH: await temporaryDirectory('path') });
  assert.deepEqual([code, find('program rsync')?.hint, find('program qemu-img')?.state], [78, 'apt-get install rsync', 'warn']);
});

it('shows all that is broken at once: configuration, keys, database, clock', async () => {
  const { dataDir } = await initialisedDirectory();
  await appendFile(join(dataDir, 'waystation.yaml'), 'htpPort: 1\n');
  await rm(join(dataDir, 'keys', 'ca.key'));
  await writeFile(join(dataDir, 'db.sqlite'), 'no database'.repeat(500));
  await mkdir(join(dataDir, 'log'));
  await writeFile(join(dataDir, 'log', 'waystation.log'), '{"time":"2999-01-01T00:00:00.000Z","level":"info","event":"x"}\n');
  const { code, find } = await doctor(dataDir, freePorts);
  assert.equal(code, 78);
  for (const name of ['configuration', 'keys', 'database', 'clock']) assert.equal(find(name)?.state, 'fail', name);
  assert.match(find('clock')?.message ?? '', /2999/);
});

it('warns when the database is spoken to in the clear over a network', async () => {
  const { dataDir } = await initialisedDirectory();
  const state = async (...more: string[]) => {
    const where = ['hosts: ["127.0.0.1:1", "db.invalid:3306"]', 'user: u', 'name: n', ...more];
    await writeFile(join(dataDir, 'waystation.yaml'), `database:\n${where.map((line) => `  ${line}\n`).join('')}`);
    return (await doctor(dataDir, freePorts)).find('database connection');
  };
  const found = await state();
  assert.deepEqual([found?.state, /db\.invalid:3306 is plain TCP/.test(found?.message ?? '')], ['warn', true]);
  assert.doesNotMatch(found?.message ?? '', /127\.0\.0\.1/);
  assert.equal(await state(`ca: ${join(dataDir, 'keys', 'ca.pem')}`), undefined);
});

it('warns when the file system has less room than the reserve', async () => {
  const { dataDir } = await initialisedDirectory();
  const { find } = await doctor(dataDir, { WAYSTATION_STORE_RESERVE_BYTES: '900000000000000' });
  assert.equal(find('disk space')?.state, 'fail');
});

it('judges what DHCP servers offer', () => {
  const offer = (server: string, more: Partial<DhcpPacket> = {}): DhcpPacket => ({
    ...{ op: 'reply', hops: 0, xid: 1, secs: 0, flags: 0, ciaddr: '0.0.0.0', yiaddr: '10.0.0.9', siaddr: '0.0.0.0', giaddr: '0.0.0.0' },
    ...{ mac: '52:54:00:00:00:01' as Mac, serverName: '', file: '' },
    options: new Map([[OPTION.serverId, Buffer.from(server.split('.').map(Number))]]),
    ...more,
  });
  assert.equal(judge('x', []).state, 'warn');
  assert.deepEqual(
    [judge('x', [offer('10.0.0.1'), offer('10.0.0.1')]).state, judge('x', [offer('10.0.0.1')]).message],
    ['ok', '10.0.0.1 offers 10.0.0.9, no boot file'],
  );
  const competitor = judge('x', [offer('10.0.0.1'), offer('10.0.0.2', { file: 'pxelinux.0' })]);
  assert.deepEqual([competitor.state, /10\.0\.0\.2/.test(competitor.message)], ['warn', true]);
});

it('reads the versions that programs print', () => {
  assert.deepEqual(parseVersion('rsync  version 3.2.7  protocol version 31'), [3, 2, 7]);
  assert.deepEqual(parseVersion('perl 5, version 36, subversion 0 (v5.36.0)'), [5, 36, 0]);
  assert.deepEqual(parseVersion('no number'), undefined);
  const cases = ['3.4.0', '3.4.1', '3.4.1.1', '3.10.0'].map((text) => isOlder(text.split('.').map(Number), [3, 4, 1]));
  assert.deepEqual(cases, [true, false, false, false]);
});
