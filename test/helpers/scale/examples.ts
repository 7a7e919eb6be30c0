import type { ReportBatch } from '../../../core/control-protocol.ts';
import type { Digest, Id, Mac, Name } from '../../../core/ids.ts';
import { readBatch } from '../../../server/control/own-reports.ts';
import { newestChange } from '../../../server/db/outbox.ts';
import { callHome } from '../../../server/orders/call-home.ts';
import { sayHello } from '../../../server/orders/hello.ts';
import { instruct } from '../../../server/orders/instruct.ts';
import { createOrder } from '../../../server/orders/orders.ts';
import { takeReport } from '../../../server/orders/report.ts';
import type { Site } from '../../../server/site.ts';
import { addTarget, createBoot } from '../../../server/targets.ts';
import { inventoryOf, MIB } from '../../agent/fixtures.ts';

/** By what the example machine is known: the places that the others fill. */
export const EXAMPLE = {
  name: 'example-machine',
  uuid: '4c4c4544-0000-4000-8000-000000000000',
  serial: 'EXAMPLE-SERIAL',
  mac: '52:54:00:ee:ee:ee',
  key: `sha256:${'ee'.repeat(32)}`,
} as const;

type State = Extract<ReportBatch, { stream: 'states' }>['items'][number];

/** What was made at a site, and how it is told: a machine with one order that ran to its end, and one that was made just now. */
export type Examples = {
  readonly targetId: Id;
  readonly ended: Id;
  readonly active: Id;
  readonly states: readonly State[];
  /** When that was (epoch ms). */
  readonly at: number;
};

const DISK = 64 * MIB;
const HERE = new AbortController().signal;

/** Lets an example machine live at a site that holds an image `debian`, by the functions that the API calls. */
export async function liveExample(site: Site): Promise<Examples> {
  const { name, uuid, serial, mac } = EXAMPLE;
  const known = { name: name as Name, uuid, serial, macs: [mac as Mac], arch: 'amd64', firmware: 'bios' } as const;
  const target = await addTarget(site, known, 'operator:seed');
  const ended = await deploy(site, target.id);
  const active = await createOrder(site, { targetRef: target.id, imageRef: 'debian', actor: 'operator:seed' });
  const batch = await readBatch(site, { origin: site.self.id, stream: 'states' }, 0, await newestChange(site.db));
  return { targetId: target.id, ended, active: active.id, states: batch.items as State[], at: site.now() };
}

/** An order from its making to the call of the deployed system. */
async function deploy(site: Site, targetId: Id): Promise<Id> {
  const keyId = EXAMPLE.key as Digest;
  const order = await createOrder(site, { targetRef: targetId, imageRef: 'debian', actor: 'operator:seed' });
  const bootId = await createBoot(site, targetId, 'engine');
  const nics = [{ name: 'eth0', mac: EXAMPLE.mac }];
  await sayHello(site, keyId, { protocol: 1, bootId, agentVersion: '0.1.0', inventory: inventoryOf({ sizeBytes: DISK }, { nics }) });
  const agent = { targetId, keyId };
  await instruct(site, agent, HERE);
  const progress = { stage: 'verifying', doneBytes: DISK, totalBytes: DISK, percent: 100, etaSeconds: 0 };
  await takeReport(site, agent, { orderId: order.id, event: 'progress', progress });
  await takeReport(site, agent, { orderId: order.id, event: 'verified', figures: { bytesPerSecond: 31_000_000, writtenBytes: DISK } });
  await callHome(site, { orderId: order.id, nonce: order.nonce, from: '192.0.2.7' });
  return order.id;
}
