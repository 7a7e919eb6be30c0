import assert from 'node:assert/strict';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { after, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Finding } from '../../server/doctor/finding.ts';
import { initialisedDirectory } from '../helpers/initialised-directory.ts';
import { createNetworks, type Netns } from '../helpers/netns.ts';
import { CLEAN_ENV } from '../helpers/run-cli.ts';

const LAUNCHER = fileURLToPath(new URL('../../cli/waystation', import.meta.url));

/** One server with three wires: a plain DHCP server, one that names a boot file, and none. */
const networks = createNetworks();
after(() => networks.close());
const [server, plain, booting, empty] = await Promise.all(['srv', 'plain', 'boot', 'none'].map((label) => networks.add(label)));
assert.ok(server && plain && booting && empty);

async function wire(index: number, other: Netns, dnsmasq?: readonly string[]): Promise<void> {
  await networks.join(server as Netns, `e${index}`, other, `x${index}`);
  await (server as Netns).ip('addr', 'add', `10.78.${index}.1/24`, 'brd', '+', 'dev', `e${index}`);
  await other.ip('addr', 'add', `10.78.${index}.2/24`, 'brd', '+', 'dev', `x${index}`);
  if (dnsmasq === undefined) return;
  const range = `--dhcp-range=10.78.${index}.100,10.78.${index}.200`;
  const options = ['--keep-in-foreground', '--port=0', '--conf-file=/dev/null', '--user=root', '--pid-file=', '--dhcp-leasefile=/dev/null'];
  options.push(`--interface=x${index}`, '--bind-interfaces', '--log-facility=-', '--no-ping', range, ...dnsmasq);
  const child = other.spawn(['dnsmasq', ...options], { stdio: ['ignore', 'ignore', 'pipe'] });
  await once(child.stderr as NodeJS.ReadableStream, 'data');
  child.stderr?.resume();
}

it('finds the DHCP server of each wire by the interface that leads there', async () => {
  await Promise.all([wire(0, plain, []), wire(1, booting, ['--dhcp-boot=pxelinux.0']), wire(2, empty)]);
  const { dataDir } = await initialisedDirectory();
  const env = { ...CLEAN_ENV, WAYSTATION_PXE: 'proxy' };
  const doctor = server.spawn([LAUNCHER, '--data', dataDir, '--json', 'doctor'], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const [output] = await Promise.all([text(doctor.stdout as NodeJS.ReadableStream), once(doctor, 'exit')]);
  const items: Finding[] = JSON.parse(output).items;
  const on = (name: string) => items.find((item) => item.name === `DHCP servers on ${name}`);
  assert.deepEqual([on('e0')?.state, on('e1')?.state, on('e2')?.state], ['ok', 'warn', 'warn']);
  assert.match(on('e0')?.message ?? '', /^10\.78\.0\.2 offers 10\.78\.0\.\d+, no boot file$/);
  assert.match(on('e1')?.message ?? '', /^10\.78\.1\.2 names a boot file/);
  assert.match(on('e2')?.message ?? '', /^none answered/);
});
