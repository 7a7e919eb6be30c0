import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Name, parseMac } from '../../core/ids.ts';
import { placeOrder } from '../../server/control/place.ts';
import { locateOrder, showTarget } from '../../server/control/things-below.ts';
import { listEvents } from '../../server/db/events.ts';
import { createOrder, getOrder } from '../../server/orders/orders.ts';
import { viewOrder } from '../../server/orders/view.ts';
import { setParent } from '../../server/shared/parents.ts';
import { addTarget } from '../../server/targets.ts';
import type { TestServer } from '../agent/helpers.ts';
import { eventsArrived, eventually, makeNode, type Node, replicate } from '../helpers/control-sites.ts';
import { startMeeting } from '../helpers/meeting.ts';
import { bootScript, fillHeadquarters, playDeployment } from '../helpers/play-machine.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

const root = await temporaryDirectory('shared-outage');
/** How long the database is stopped, in seconds; a minute in `make soak`. */
const AWAY_S = Number(process.env['AWAY_S'] ?? (process.env['N'] ? 60 : 8));
const mac = (n: number) => parseMac(`5254000000${n.toString(16).padStart(2, '0')}`);

test('the database goes away in the middle of an order: the machine boots and is deployed, and the result arrives once afterwards', async (t) => {
  const meeting = await startMeeting(root);
  const flags = { database: meeting.database };
  // The order is made at a server to which no link of the branch leads: what it hears comes through the database.
  const hq = await makeNode(root, 'hq', undefined, { flags });
  const branch = await makeNode(root, 'branch', undefined, { flags });
  const office = await makeNode(root, 'office', undefined, { flags });
  const nodes = [office, branch, hq];
  after(async () => {
    for (const node of nodes) await node.close();
    await meeting.mariadb.stop();
  });
  await fillHeadquarters(root, hq.site);
  await addTarget(branch.site, { name: 'till' as Name, macs: [mac(1)] }, 'test');
  await addTarget(branch.site, { name: 'desk' as Name, macs: [mac(2)] }, 'test');
  await eventually('the branch has met hq', async () => (await branch.site.db('peers').where({ name: 'hq' }).first()) !== undefined);
  await setParent(office.site, { server: 'branch', parent: 'hq', actor: 'operator:me' });
  await eventually('the branch has its parent', async () => branch.site.keys.parentCredentials(hq.site.self.id) !== undefined);
  await eventually('office knows the machine', () => showTarget(office.site, 'till').catch(() => undefined));
  await eventually('office knows the image', async () => (await office.site.db('images').where({ name: 'debian' }).first()) !== undefined);

  const order = await placeOrder(office.site, { targetRef: 'till', imageRef: 'debian', actor: 'operator:me' });
  const seenAt = async ({ site }: Node) => {
    const located = await locateOrder(site, order.id).catch(() => undefined);
    return located?.where === 'below' ? located.below.view : located?.view;
  };
  const waits = /image debian@1 is not here yet; it comes with a replication run/;
  for (const node of [office, hq])
    await eventually(`${node.name} says what the order waits for`, async () => waits.test((await seenAt(node))?.note ?? ''));
  await replicate(branch);
  await eventually('it has begun', async () => (await getOrder(branch.site, order.id)).state === 'activated');

  await meeting.mariadb.kill();
  const stopped = performance.now();
  await eventually('the branch knows it', async () => branch.site.shared?.state().state === 'unreachable');
  const serving = branch.serving;
  assert.ok(serving);
  const server: TestServer = { site: branch.site, serving, folder: root, pin: branch.site.keys.caPin, clock: { offsetMs: 0 } };
  assert.match(await bootScript(serving.httpUrl, mac(1)), /^kernel http/m);
  await playDeployment(t, { server, root, orderId: order.id, address: mac(1) });
  const own = await createOrder(branch.site, { targetRef: 'desk', imageRef: 'debian', actor: 'test' });
  await playDeployment(t, { server, root, orderId: own.id, address: mac(2) });
  // Made while the database is away, at both ends of it.
  const during = await placeOrder(office.site, { targetRef: 'desk', imageRef: 'debian', actor: 'operator:me' });
  await sleep(Math.max(0, AWAY_S * 1000 - (performance.now() - stopped)));
  assert.notEqual((await seenAt(office))?.state, 'current');
  const awaySeconds = (performance.now() - stopped) / 1000;
  await meeting.mariadb.start();
  const back = performance.now();

  for (const { id } of [order, own]) {
    const { revision } = await viewOrder(branch.site, await getOrder(branch.site, id));
    await eventually('the result is there', async () => {
      const located = await locateOrder(office.site, id).catch(() => undefined);
      return located?.where === 'below' && located.below.view.state === 'current' && located.below.view.revision === revision;
    });
  }
  const arrived = performance.now() - back;
  await eventually('every event of the branch is there once', () => eventsArrived(branch.site, office.site));
  for (const { id } of [order, own]) {
    const ended = (await listEvents(office.site.db, { subject: id, limit: 1000 })).filter(({ kind }) => kind === 'order.current');
    assert.equal(ended.length, 1);
  }
  await eventually('what was ordered meanwhile is there', () => getOrder(branch.site, during.id).catch(() => undefined));
  t.diagnostic(
    `database stopped for ${awaySeconds.toFixed(1)} s: 2 deployments meanwhile, results at the maker ${(arrived / 1000).toFixed(1)} s after it was back, each once`,
  );
});
