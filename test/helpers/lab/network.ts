import { type ChildProcessByStdio, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { stopChild } from './server.ts';

const run = promisify(execFile);

/**
 * The wires of a run. As root: a namespace for headquarters and one for the branch joined by a veth pair (the
 * WAN), and in the branch a bridge (the LAN) with a foreign DHCP server in a namespace of its own and a tap for
 * the machine. As an ordinary user: loopback, and QEMU's user network for the machine.
 */
export type LabNetwork = {
  readonly kind: 'bridge' | 'user';
  readonly hq: { readonly netns: string | undefined; readonly address: string };
  readonly branch: { readonly netns: string | undefined; readonly lan: string | undefined };
  /** The machine's tap on the bridge, in the branch's namespace. */
  readonly tap: string | undefined;
  /** Cuts the WAN, or mends it. Not on loopback: there it stays as it is. */
  setWan(state: 'up' | 'down'): Promise<void>;
  close(): Promise<void>;
};

export function userNetwork(): LabNetwork {
  return {
    kind: 'user',
    hq: { netns: undefined, address: '127.0.0.1' },
    branch: { netns: undefined, lan: undefined },
    tap: undefined,
    setWan: async () => undefined,
    close: async () => undefined,
  };
}

/** Needs root. Names are random, so that runs beside each other do not meet. */
export async function bridgeNetwork(): Promise<LabNetwork> {
  const tag = `ws${randomBytes(3).toString('hex')}`;
  const hq = `${tag}-hq`;
  const branch = `${tag}-br`;
  const dhcp = `${tag}-dhcp`;
  for (const netns of [hq, branch, dhcp]) await ip('netns', 'add', netns);
  await ip('link', 'add', 'wan0', 'netns', hq, 'type', 'veth', 'peer', 'name', 'wan0', 'netns', branch);
  await ip('-n', hq, 'addr', 'add', '10.77.0.1/24', 'brd', '+', 'dev', 'wan0');
  await ip('-n', branch, 'addr', 'add', '10.77.0.2/24', 'brd', '+', 'dev', 'wan0');
  await ip('-n', branch, 'link', 'add', 'lan0', 'type', 'bridge', 'forward_delay', '0');
  await ip('-n', branch, 'addr', 'add', '192.168.77.1/24', 'brd', '+', 'dev', 'lan0');
  await ip('-n', branch, 'tuntap', 'add', 'tap0', 'mode', 'tap');
  await ip('link', 'add', 'eth0', 'netns', dhcp, 'type', 'veth', 'peer', 'name', 'foreign0', 'netns', branch);
  await ip('-n', dhcp, 'addr', 'add', '192.168.77.2/24', 'brd', '+', 'dev', 'eth0');
  for (const port of ['tap0', 'foreign0']) await ip('-n', branch, 'link', 'set', port, 'master', 'lan0');
  for (const [netns, links] of Object.entries({
    [hq]: ['lo', 'wan0'],
    [dhcp]: ['lo', 'eth0'],
    [branch]: ['lo', 'wan0', 'lan0', 'tap0', 'foreign0'],
  })) {
    for (const link of links) await ip('-n', netns, 'link', 'set', link, 'up');
  }
  const dnsmasq = await startForeignDhcp(dhcp);
  return {
    kind: 'bridge',
    hq: { netns: hq, address: '10.77.0.1' },
    branch: { netns: branch, lan: 'lan0' },
    tap: 'tap0',
    setWan: (state) => ip('-n', hq, 'link', 'set', 'wan0', state),
    close: async () => {
      await dnsmasq();
      for (const netns of [hq, branch, dhcp]) await ip('netns', 'del', netns);
    },
  };
}

/** A DHCP server that knows nothing of network boot, as branches have: dnsmasq with a range and no boot options. */
async function startForeignDhcp(netns: string): Promise<() => Promise<void>> {
  const args = ['--keep-in-foreground', '--port=0', '--conf-file=/dev/null', '--user=root', '--pid-file=', '--dhcp-leasefile=/dev/null'];
  args.push('--interface=eth0', '--bind-interfaces', '--dhcp-range=192.168.77.100,192.168.77.200,1h', '--log-dhcp', '--log-facility=-');
  const child = spawn('ip', ['netns', 'exec', netns, 'dnsmasq', ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  await hasStarted(child);
  return () => stopChild(child);
}

/** `ip netns exec` says on the same stream that there is no such program: only dnsmasq's own word counts. */
function hasStarted(child: ChildProcessByStdio<null, null, Readable>): Promise<void> {
  let words = '';
  child.stderr.setEncoding('utf8');
  return new Promise((resolve, reject) => {
    child.stderr.on('data', (text: string) => {
      words = (words + text).slice(-2_000);
      if (/dnsmasq.*: started/.test(words)) resolve();
    });
    child.once('error', reject);
    child.once('close', () => reject(new Error(`dnsmasq, the foreign DHCP server, did not start: ${words.trim()}`)));
  });
}

async function ip(...args: string[]): Promise<void> {
  await run('ip', args);
}
