import assert from 'node:assert/strict';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runAgent } from '../../agent/loop.ts';
import { importEngine } from '../../server/engine/publish.ts';
import { importImage } from '../../server/images/import.ts';
import { callHome } from '../../server/orders/call-home.ts';
import { getOrder } from '../../server/orders/orders.ts';
import type { Site } from '../../server/site.ts';
import { diskImage, MIB, machineWith, seededBytes } from '../agent/fixtures.ts';
import { agentWorld, type TestServer } from '../agent/helpers.ts';
import type { Afterwards } from './end-in-reverse.ts';
import { compareDisk, writeRandomDisk } from './lab/disks.ts';

/** An image `debian` of 6 MiB (its file is ROOT/debian.raw) and an engine, imported at a server. */
export async function fillHeadquarters(root: string, site: Site): Promise<void> {
  await writeFile(join(root, 'debian.raw'), diskImage(6 * MIB));
  await importImage(site, { path: join(root, 'debian.raw'), name: 'debian', actor: 'test' });
  const files = join(root, 'engine', 'boot', 'amd64');
  await mkdir(files, { recursive: true });
  for (const name of ['vmlinuz', 'initrd', 'undionly.kpxe', 'snponly.efi']) {
    await writeFile(join(files, name), Buffer.concat([Buffer.from('ipxe'), seededBytes(name.length, 40_000)]));
  }
  await importEngine(site, { path: join(root, 'engine'), arch: 'amd64', meta: {}, actor: 'test' });
}

/** What a machine's firmware would be told. */
export async function bootScript(httpUrl: string, address: string): Promise<string> {
  const response = await fetch(`${httpUrl}/boot/script?mac=${address}&arch=x86_64&platform=pcbios`);
  return response.text();
}

export type Played = {
  readonly server: TestServer;
  readonly root: string;
  readonly orderId: string;
  readonly address: string;
  /** What the disk must be in the end; ROOT/debian.raw unless given. */
  readonly raw?: string;
};

/** As the machine would: boot script, agent, disk, the deployed system's call. The disk is compared, and gone afterwards. */
export async function playDeployment(
  t: Afterwards,
  { server, root, orderId, address, raw = join(root, 'debian.raw') }: Played,
): Promise<void> {
  const script = await bootScript(server.serving.httpUrl, address);
  const bootId = /ws\.boot=(\S+)/.exec(script)?.[1];
  assert.ok(bootId, script);
  const disk = join(root, `disk-${orderId}`);
  await writeRandomDisk(disk, 7 * MIB);
  const machine = await machineWith(disk, { nics: [{ name: 'eth0', mac: address }] });
  await runAgent(await agentWorld(t, server, { bootId: bootId as never }, machine));
  assert.equal((await compareDisk(raw, disk)).differentBytes, 0);
  await rm(disk);
  const { nonce } = await getOrder(server.site, orderId);
  assert.deepEqual(await callHome(server.site, { orderId, nonce, from: '192.0.2.7' }), { state: 'current' });
}
