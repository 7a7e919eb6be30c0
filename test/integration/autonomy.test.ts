import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, test } from 'node:test';
import { type Name, parseMac } from '../../core/ids.ts';
import { haltOrder, placeOrder } from '../../server/control/place.ts';
import { listAllOrders, listAllTargets, locateOrder, showTarget } from '../../server/control/things-below.ts';
import { appendEvent, listEvents } from '../../server/db/events.ts';
import { getImage } from '../../server/db/images.ts';
import { importImage } from '../../server/images/import.ts';
import { createOrder, getOrder } from '../../server/orders/orders.ts';
import { viewOrder } from '../../server/orders/view.ts';
import { addTarget } from '../../server/targets.ts';
import { diskImage, MIB } from '../agent/fixtures.ts';
import type { TestServer } from '../agent/helpers.ts';
import { eventsArrived, eventually, makeNode, replicate } from '../helpers/control-sites.ts';
import { bootScript, fillHeadquarters, playDeployment } from '../helpers/play-machine.ts';
import { startServeProcess } from '../helpers/serve-process.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { openClient, read } from '../server/tftp/helpers.ts';

const root = await temporaryDirectory('autonomy');
const HOUR_MS = 3_600_000;
const clock = { offsetMs: 0 };
const now = () => Date.now() + clock.offsetMs;
const mac = (n: number) => parseMac(`5254000000${n.toString(16).padStart(2, '0')}`);

test('a branch that is cut off for 24 hours boots, deploys and imports; all of it arrives at headquarters once afterwards', async (t) => {
  const hq = await makeNode(root, 'hq', undefined, { now });
  const branch = await makeNode(root, 'branch', hq, { now });
  after(async () => {
    await branch.close();
    await hq.close();
  });
  await fillHeadquarters(root, hq.site);
  await replicate(branch);
  for (const [name, n] of [
    ['till', 1],
    ['desk', 2],
    ['kiosk', 3],
  ] as const) {
    await addTarget(branch.site, { name: name as Name, macs: [mac(n)] }, 'test');
    await eventually(`${name} is known`, () => showTarget(hq.site, name).catch(() => undefined));
  }
  // Made at headquarters before the cut: it is at the branch, and goes on without headquarters.
  const fromAbove = await placeOrder(hq.site, { targetRef: 'till', imageRef: 'debian', actor: 'test' });
  await eventually('the order is at the branch', () => getOrder(branch.site, fromAbove.id).catch(() => undefined));
  await eventually('all is told', () => eventsArrived(branch.site, hq.site));
  await hq.stop();
  // Made at headquarters during the cut: it waits there.
  const duringCut = await placeOrder(hq.site, { targetRef: 'kiosk', imageRef: 'debian', actor: 'test' });
  const serving = branch.serving;
  assert.ok(serving);
  const server: TestServer = { site: branch.site, serving, folder: root, pin: branch.site.keys.caPin, clock };
  const own = await createOrder(branch.site, { targetRef: 'desk', imageRef: 'debian', actor: 'test' });
  const seen = { scripts: 0, loaders: 0 };
  for (let hour = 1; hour <= 24; hour += 1) {
    clock.offsetMs = hour * HOUR_MS;
    const script = await bootScript(serving.httpUrl, mac(16 + hour));
    assert.match(script, /^kernel http/m);
    seen.scripts += 1;
    if (hour % 6 !== 0) continue;
    assert.equal((await loader(serving.tftpPort)).toString('latin1', 0, 4), 'ipxe');
    seen.loaders += 1;
  }
  for (const [id, n] of [
    [fromAbove.id, 1],
    [own.id, 2],
  ] as const)
    await playDeployment(t, { server, root, orderId: id, address: mac(n) });
  await writeFile(join(root, 'local.raw'), diskImage(4 * MIB, 9));
  const image = await importImage(branch.site, { path: join(root, 'local.raw'), name: 'local', actor: 'test' });
  assert.equal((await getImage(branch.site.db, image.id))?.state, 'published');
  // Enough to be told in many requests, so that the blows below fall in the middle.
  await tell(branch.site, 1500);

  const total = (await listEvents(branch.site.db, { origin: branch.site.self.id, limit: 100_000 })).length;
  await hq.close();
  const kills = await killWhileReceiving(join(root, 'hq'), branch.site.self.id, total, new URL(hqUrl(hq)).port);
  await hq.reopen();
  await hq.start();
  await eventually('every event is there once', () => eventsArrived(branch.site, hq.site));
  for (const { id } of [fromAbove, own]) {
    const { server: _server, ...told } = await viewOrder(branch.site, await getOrder(branch.site, id));
    await eventually('the result is there', async () => {
      const located = await locateOrder(hq.site, id);
      return located.where === 'below' && located.below.view.state === 'current' && located.below.view.revision === told.revision;
    });
    const ended = (await listEvents(hq.site.db, { subject: id, limit: 1000 })).filter(({ kind }) => kind === 'order.current');
    assert.equal(ended.length, 1);
  }
  const published = (await listEvents(hq.site.db, { subject: image.id })).filter(({ kind }) => kind === 'image.published');
  assert.equal(published.length, 1);
  const machines = (await listAllTargets(hq.site, { limit: 1000 })).items.filter(({ server: at }) => at === 'branch');
  assert.equal(machines.length, 27);
  await eventually('what was ordered during the cut is at the branch', () => getOrder(branch.site, duringCut.id).catch(() => undefined));
  await haltOrder(hq.site, duringCut.id, 'test');
  await eventually('and ends there', async () => (await getOrder(branch.site, duringCut.id)).state === 'stopped');
  assert.equal((await listAllOrders(hq.site, {})).items.length, 3);
  t.diagnostic(
    `24 h without headquarters: ${seen.scripts} boot scripts, ${seen.loaders} loaders, 2 deployments, 1 import, ${total} events; ${kills} kills of headquarters while it received them`,
  );
});

function hqUrl({ site }: { site: { config: { httpsPort: number } } }): string {
  return `https://127.0.0.1:${site.config.httpsPort}`;
}

/** The first block of the BIOS loader. */
async function loader(tftpPort: number): Promise<Buffer> {
  const client = await openClient();
  try {
    client.send(read('boot/amd64/undionly.kpxe'), tftpPort);
    const { packet } = await client.next();
    assert.ok(packet.kind === 'data', packet.kind);
    return Buffer.from(packet.data);
  } finally {
    client.close();
  }
}

async function tell(site: TestServer['site'], count: number): Promise<void> {
  const event = { origin: site.self.id, at: site.now(), actor: 'test', kind: 'test.happened', subject: 's' };
  await site.db.transaction(async (trx) => {
    for (let n = 0; n < count; n += 1) await appendEvent(trx, { ...event, data: { n } });
  });
}

/** Starts headquarters three times and kills it as soon as a part of the events is stored. Returns how many kills fell in the middle. */
async function killWhileReceiving(dataDir: string, origin: string, total: number, port: string): Promise<number> {
  let kills = 0;
  for (const part of [0.2, 0.5, 0.8]) {
    const process = await startServeProcess(dataDir, { WAYSTATION_HTTP_PORT: '0', WAYSTATION_HTTPS_PORT: port, WAYSTATION_TFTP_PORT: '0' });
    await eventually('a part is stored', async () => countEvents(dataDir, origin) >= total * part);
    await process.kill();
    const stored = countEvents(dataDir, origin);
    if (stored < total) kills += 1;
  }
  assert.ok(kills > 0, 'no kill fell while events were on their way');
  return kills;
}

function countEvents(dataDir: string, origin: string): number {
  const db = new DatabaseSync(join(dataDir, 'db.sqlite'), { readOnly: true });
  try {
    return Number(db.prepare('select count(*) as n from events where origin = ?').get(origin)?.['n'] ?? 0);
  } finally {
    db.close();
  }
}
