import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { adoptSocket } from '../../../server/dhcp/listener.ts';
import { needsLauncher, pxeInterfaces, socketSpecs } from '../../../server/launcher/launch.ts';
import { passedSockets } from '../../../server/launcher/passed-sockets.ts';

const LAUNCHER = fileURLToPath(new URL('../../../server/launcher/waystation-launch', import.meta.url));

function launch(words: readonly string[]) {
  return spawnSync(LAUNCHER, words, { encoding: 'utf8', timeout: 20_000 });
}

test('sockets are passed as systemd passes them, in order, to the process that the launcher becomes', () => {
  const script = `
    const { createSocket } = require('node:dgram');
    const first = createSocket('udp4');
    const facts = { env: [process.env.LISTEN_FDS, process.env.LISTEN_FDNAMES, Number(process.env.LISTEN_PID) === process.pid] };
    first.bind({ fd: 4 }, () => { console.log(JSON.stringify({ ...facts, address: first.address().address })); first.close(); });`;
  const sockets = ['--socket', 'dhcp.a=udp:127.0.0.1:0', '--socket', 'pxe.a=udp:127.0.0.9:0'];
  const { stdout, status } = launch([...sockets, '--', process.execPath, '-e', script]);
  assert.equal(status, 0);
  assert.deepEqual(JSON.parse(stdout), { env: ['2', 'dhcp.a:pxe.a', true], address: '127.0.0.9' });
});

test('without sockets the command runs as it is', () => {
  const { stdout, status } = launch(['--', process.execPath, '-p', 'process.env.LISTEN_FDS']);
  assert.deepEqual([stdout.trim(), status], ['undefined', 0]);
});

test('a port in use, an unknown interface and a spec that cannot be read are told in words, with their exit codes', async () => {
  const taken = createSocket('udp4').bind(0, '127.0.0.1');
  await once(taken, 'listening');
  const cases: readonly [string, number, RegExp][] = [
    [`x=udp:127.0.0.1:${taken.address().port}`, 75, /UDP port \d+ is in use/],
    ['x=udp:0.0.0.0:0%nosuch0', 69, /on nosuch0: there is no such interface/],
    ['x=tcp:0.0.0.0:80', 64, /cannot read the socket x=tcp/],
  ];
  for (const [spec, code, words] of cases) {
    const human = launch(['--socket', spec, '--', 'true']);
    assert.equal(human.status, code);
    assert.match(human.stderr, words);
    const json = launch(['--json', '--socket', spec, '--', 'true']);
    assert.match((JSON.parse(json.stdout) as { error: { message: string } }).error.message, words);
  }
  taken.close();
});

test('sockets count only for the process they were passed to', () => {
  const env = { LISTEN_FDS: '3', LISTEN_FDNAMES: 'dhcp.eth0:pxe.eth0', LISTEN_PID: '77' };
  assert.deepEqual(
    [...passedSockets(env, 77)],
    [
      ['dhcp.eth0', [3]],
      ['pxe.eth0', [4]],
      ['unknown', [5]],
    ],
  );
  assert.equal(passedSockets(env, 78).size, 0);
  for (const LISTEN_FDS of ['', '0', '-1', 'x', '1e9']) assert.equal(passedSockets({ ...env, LISTEN_FDS }, 77).size, 0, LISTEN_FDS);
});

test('serve goes through the launcher when it must answer PXE clients and has no sockets', () => {
  assert.equal(needsLauncher({ pxe: 'proxy' }, {}, 77), true);
  assert.equal(needsLauncher({ pxe: 'off' }, {}, 77), false);
  assert.equal(needsLauncher({ pxe: 'proxy' }, { LISTEN_FDS: '1', LISTEN_PID: '77' }, 77), false);
});

test('the interfaces are those of the configuration, or all with an IPv4 address', () => {
  const address = (family: 'IPv4' | 'IPv6', internal = false) => ({ family, internal }) as never;
  const interfaces = {
    lo: [address('IPv4', true)],
    eth0: [address('IPv4'), address('IPv6')],
    eth1: [address('IPv6')],
    eth2: [address('IPv4')],
  };
  assert.deepEqual(pxeInterfaces({ interfaces: [] }, interfaces), ['eth0', 'eth2']);
  assert.deepEqual(pxeInterfaces({ interfaces: ['eth2', 'eth2'] }, interfaces), ['eth2']);
  assert.throws(() => pxeInterfaces({ interfaces: ['eth1'] }, interfaces), { code: 'config', message: /"eth1"/ });
  assert.throws(() => pxeInterfaces({ interfaces: [] }, {}), { code: 'config' });
  assert.deepEqual(socketSpecs(['eth0']), ['dhcp.eth0=udp:0.0.0.0:67%eth0', 'pxe.eth0=udp:0.0.0.0:4011%eth0']);
});

test('a descriptor that is no socket is refused', async () => {
  const file = openSync('/dev/null', 'r');
  await assert.rejects(adoptSocket(file), { code: 'ERR_INVALID_FD_TYPE' });
  closeSync(file);
});
