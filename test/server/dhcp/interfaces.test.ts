import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { OPTION } from '../../../server/dhcp/options.ts';
import { type DhcpPacket, decodeDhcp, MESSAGE } from '../../../server/dhcp/packet.ts';
import { createNetworks, type Netns } from '../../helpers/netns.ts';
import { type Asked, pxeBytes } from '../../helpers/pxe-packets.ts';

/**
 * A server with two interfaces, started by the launcher, and a machine on each. On the first wire a foreign DHCP
 * server (dnsmasq without boot options) answers as well.
 *
 *   machine-a c0 ─┐
 *   foreign   d0 ─┴ br0 (lan) ─ e0 server e1 ─ c1 machine-b
 */
const networks = createNetworks();
const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const launcher = fileURLToPath(new URL('../../../server/launcher/waystation-launch', import.meta.url));
let machineA: Netns;
let machineB: Netns;
let server: ChildProcess;
let lines: AsyncIterator<string>;

before(async () => {
  const [host, lan, foreign] = [await networks.add('srv'), await networks.add('lan'), await networks.add('dhcp')];
  machineA = await networks.add('a');
  machineB = await networks.add('b');
  await lan.ip('link', 'add', 'br0', 'type', 'bridge', 'forward_delay', '0');
  await lan.ip('link', 'set', 'br0', 'up');
  for (const [space, link, port] of [
    [host, 'e0', 'p0'],
    [machineA, 'c0', 'p1'],
    [foreign, 'd0', 'p2'],
  ] as const) {
    await networks.join(space, link, lan, port);
    await lan.ip('link', 'set', port, 'master', 'br0');
  }
  await networks.join(host, 'e1', machineB, 'c1');
  for (const [space, link, address] of [
    [host, 'e0', '10.77.0.1/24'],
    [host, 'e1', '10.77.1.1/24'],
    [foreign, 'd0', '10.77.0.2/24'],
    [machineA, 'c0', '10.77.0.50/24'],
    [machineB, 'c1', '10.77.1.50/24'],
  ] as const) {
    await space.ip('addr', 'add', address, 'brd', '+', 'dev', link);
  }
  await machineA.ip('route', 'add', 'default', 'dev', 'c0');
  await machineB.ip('route', 'add', 'default', 'dev', 'c1');
  await startForeignDhcp(foreign);
  const sockets = ['e0', 'e1'].flatMap((name) => [`dhcp.${name}=udp:0.0.0.0:67%${name}`, `pxe.${name}=udp:0.0.0.0:4011%${name}`]);
  const command = [launcher, ...sockets.flatMap((spec) => ['--socket', spec]), '--', process.execPath, path('proxy-server.ts')];
  server = host.spawn(command, { stdio: ['pipe', 'pipe', 'inherit'] });
  lines = createInterface({ input: server.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  assert.equal((await lines.next()).value, 'ready');
});

after(() => networks.close());

async function startForeignDhcp(space: Netns): Promise<void> {
  const words = ['--keep-in-foreground', '--port=0', '--conf-file=/dev/null', '--user=root', '--pid-file=', '--dhcp-leasefile=/dev/null'];
  words.push(
    '--interface=d0',
    '--bind-interfaces',
    '--dhcp-range=10.77.0.100,10.77.0.200,1h',
    '--log-dhcp',
    '--log-facility=-',
    '--no-ping',
  );
  const child = space.spawn(['dnsmasq', ...words], { stdio: ['ignore', 'ignore', 'pipe'] });
  await once(child.stderr as NodeJS.ReadableStream, 'data');
  child.stderr?.resume();
}

type Heard = { readonly from: string; readonly port: number; readonly packet: DhcpPacket };

async function ask(space: Netns, asked: Asked, to = '255.255.255.255', port = 67): Promise<Heard[]> {
  const questions = JSON.stringify([{ hex: pxeBytes(asked).toString('hex'), to, port, waitMs: 1_000 }]);
  const child = space.spawn([process.execPath, path('ask.ts'), questions], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), 'line')) as [string];
  const heard = JSON.parse(line) as { from: string; port: number; hex: string }[];
  return heard.map(({ from, port: source, hex }) => ({ from, port: source, packet: decodeDhcp(Buffer.from(hex, 'hex')) }));
}

const ours = (heard: readonly Heard[]) => heard.filter(({ packet }) => packet.options.get(OPTION.vendorClass)?.toString() === 'PXEClient');

test('a BIOS machine gets its address from the foreign server and its loader from us', async () => {
  const heard = await ask(machineA, { mac: '52:54:00:aa:00:01' });
  const foreign = heard.filter(({ from }) => from === '10.77.0.2');
  assert.equal(foreign.length, 1);
  assert.match(foreign[0]?.packet.yiaddr ?? '', /^10\.77\.0\.1\d\d$/);
  assert.equal(foreign[0]?.packet.file, '');
  const [offer, second] = ours(heard);
  assert.equal(second, undefined, 'one answer, not two');
  assert.equal(offer?.from, '10.77.0.1');
  assert.equal(offer?.port, 67);
  assert.equal(offer?.packet.yiaddr, '0.0.0.0');
  assert.equal(offer?.packet.siaddr, '10.77.0.1');
  assert.equal(offer?.packet.file, 'boot/amd64/undionly.kpxe');
  assert.deepEqual([...(offer?.packet.options.get(OPTION.messageType) ?? [])], [MESSAGE.offer]);
});

test('the answer leaves by the interface that asked, with the address of that interface', async () => {
  const [toB, heardByA] = await Promise.all([
    ask(machineB, { mac: '52:54:00:bb:00:01', arch: 7 }),
    ask(machineA, { vendorClass: undefined }),
  ]);
  const [offer] = ours(toB);
  assert.equal(offer?.from, '10.77.1.1');
  assert.equal(offer?.packet.siaddr, '10.77.1.1');
  assert.equal(offer?.packet.file, 'boot/amd64/snponly.efi');
  assert.deepEqual(ours(heardByA), [], 'the other wire hears nothing of it');
});

test('a UEFI machine asks again on 4011 and gets the acknowledgement there', async () => {
  const [ack] = ours(await ask(machineB, { message: MESSAGE.request, arch: 7, ciaddr: '10.77.1.50' }, '10.77.1.1', 4011));
  assert.deepEqual([...(ack?.packet.options.get(OPTION.messageType) ?? [])], [MESSAGE.ack]);
  assert.equal(ack?.port, 4011);
  assert.equal(ack?.packet.file, 'boot/amd64/snponly.efi');
});

test('iPXE gets the script of the interface and never the loader again', async () => {
  const [offer] = ours(
    await ask(machineB, {
      options: [
        [OPTION.userClass, Buffer.from('iPXE')],
        [OPTION.etherboot, Buffer.from([0xb1, 1, 1])],
      ],
    }),
  );
  assert.equal(offer?.packet.file, 'http://10.77.1.1:8080/boot.ipxe');
});

test('a machine that was answered is written down', async () => {
  await ask(machineA, { mac: '52:54:00:aa:00:99' });
  server.stdin?.write('targets\n');
  const { value } = (await lines.next()) as { value: string };
  assert.ok(
    (JSON.parse(value) as { mac: string }[]).some(({ mac }) => mac === '52:54:00:aa:00:99'),
    value,
  );
});
