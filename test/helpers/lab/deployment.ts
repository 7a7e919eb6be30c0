import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type MachineNetwork, startMachine } from '../qemu.ts';
import { ASKING_A_SERVER, waitUntil } from '../wait-until.ts';
import { type Comparison, compareDisk, writeRandomDisk } from './disks.ts';
import type { LabNetwork } from './network.ts';
import type { Sites } from './sites.ts';
import type { Progress, Timeline } from './timeline.ts';

export type OrderView = {
  readonly id: string;
  readonly state: string;
  readonly progress: Progress | null;
  readonly error: { code: string; message: string } | null;
  readonly figures?: Record<string, number> | null;
};

type TargetView = { readonly id: string; readonly macs: string[]; readonly environment: string; readonly activity: string };

export type DeploymentOptions = {
  readonly sites: Sites;
  readonly network: LabNetwork;
  readonly timeline: Timeline;
  readonly firmware: 'bios' | 'uefi';
  /** The image at HQ, to compare the disk with. */
  readonly imagePath: string;
  readonly imageReference: string;
  /** One that is at the branch before power-on; without it one is made there as soon as the machine is discovered. */
  readonly order?: { readonly id: string } | undefined;
  readonly workDir: string;
  readonly mac: string;
};

export type Deployment = {
  readonly order: OrderView;
  readonly comparison: Comparison;
  /** Milliseconds since power-on at which each stage was over. */
  readonly stages: Readonly<Record<'engine' | 'written' | 'rebooted' | 'ended', number>>;
  readonly serial: string;
  /** Content that reached the disk, in MB per second of deploying. */
  readonly diskMBs: number;
};

const FIRST_BOOT_OK = /WAYSTATION-FIRST-BOOT-OK/;

/** How much larger than the image the machine's disk is. */
const SPARE_BYTES = 64 << 20;

/**
 * A bare machine with a used disk from power-on to the end of its order: it boots from the network, is
 * discovered, gets an order made at the branch (or has one), is deployed, is read from outside before its first
 * boot, and boots its own disk. Never throws for an order that fails: the caller looks at `order.state`.
 */
export async function deployMachine(options: DeploymentOptions): Promise<Deployment> {
  const { sites, timeline, imagePath, workDir, mac } = options;
  const directory = join(workDir, `machine-${mac.replaceAll(':', '')}`);
  await mkdir(directory, { recursive: true });
  const disk = join(directory, 'disk.raw');
  await writeRandomDisk(disk, (await stat(imagePath)).size + SPARE_BYTES);
  timeline.say('machine', `${options.firmware.toUpperCase()}, its disk is full of random octets; power on`);
  const startedMs = performance.now();
  const since = () => performance.now() - startedMs;

  let machine = await startMachine(machineOptions(options, directory, disk, true));
  try {
    const target = await discovered(options);
    const engine = since();
    timeline.say('branch-1', `discovered target ${mac}, ${target.environment}: ${target.activity}`);
    const order = options.order ?? (await orderHere(options));
    const show = () => sites.branch.get<OrderView>(`/api/v1/orders/${order.id}`);
    await timeline.during('machine', 'deploy', async () => (await show()).progress ?? undefined, machine.exited);
    const written = since();
    const rewritten = await show();
    const rate = rewritten.figures?.['bytesPerSecond'];
    timeline.say('machine', `disk written and read back${rate ? `, ${(rate / 1e6).toFixed(1)} MB/s to disk` : ''}; it reboots`);
    const comparison = await compareDisk(imagePath, disk);
    timeline.say('lab', `read from outside: ${comparison.comparedBytes} octets compared, ${comparison.differentBytes} differ`);

    const serial = await machine.serialText();
    machine = await startMachine(machineOptions(options, directory, disk, false));
    const rebooted = since();
    const ended = await waitUntil(
      `order ${order.id} ends`,
      async () => {
        const view = await show();
        return ['current', 'failed', 'stopped'].includes(view.state) && view;
      },
      { ...ASKING_A_SERVER, limitMs: 420_000 },
    );
    timeline.say('branch-1', `order is ${ended.state}${ended.error ? `: ${ended.error.message}` : ''}`);
    // The server knows of the call before the machine has read the answer and said so on its console.
    if (ended.state === 'current') await machine.waitForSerial(FIRST_BOOT_OK, 60_000);
    return {
      order: ended,
      comparison,
      stages: { engine, written, rebooted, ended: since() },
      serial: serial + (await machine.serialText()),
      diskMBs: (rate ?? 0) / 1e6,
    };
  } catch (error) {
    throw new Error(`the deployment broke off; the console's end:\n${(await machine.serialText()).slice(-3000)}`, { cause: error });
  } finally {
    await machine.kill();
  }
}

async function orderHere({ sites, timeline, mac, imageReference }: DeploymentOptions): Promise<OrderView> {
  const order = await sites.branch.json<OrderView>('order', 'create', '--target', mac, '--image', imageReference);
  timeline.say('branch-1', `order made here: ${imageReference} to ${mac}`);
  return order;
}

function machineOptions(
  options: DeploymentOptions,
  directory: string,
  disk: string,
  noReboot: boolean,
): Parameters<typeof startMachine>[0] {
  const { firmware, mac } = options;
  return { firmware, mac, directory, disk, noReboot, memoryMb: 1024, network: machineNetwork(options) };
}

function machineNetwork({ network, sites }: DeploymentOptions): MachineNetwork {
  if (network.kind === 'bridge' && network.tap && network.branch.netns)
    return { kind: 'tap', device: network.tap, netns: network.branch.netns };
  return { kind: 'user', bootFile: `http://10.0.2.2:${new URL(sites.branch.addresses.httpUrl).port}/boot.ipxe` };
}

async function discovered({ sites, mac }: DeploymentOptions): Promise<TargetView> {
  return waitUntil(
    `target ${mac} is in the engine`,
    async () => {
      const { items } = await sites.branch.get<{ items: TargetView[] }>('/api/v1/targets');
      return items.find((target) => target.macs.includes(mac) && target.environment === 'engine');
    },
    { ...ASKING_A_SERVER, limitMs: 300_000 },
  );
}
