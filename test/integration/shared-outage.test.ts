import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { listEvents } from '../../server/db/events.ts';
import { createOrder, getOrder } from '../../server/orders/orders.ts';
import { viewOrder } from '../../server/orders/view.ts';
import type { TestServer } from '../agent/helpers.ts';
import { eventsArrived, eventually, replicate } from '../helpers/control-sites.ts';
import { howMany } from '../helpers/how-many.ts';
import { hasBegun, mac, orderFrom, seenAt, startOutageSites } from '../helpers/outage-sites.ts';
import { bootScript, playDeployment } from '../helpers/play-machine.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

const root = await temporaryDirectory('shared-outage');
/** How long the database is stopped, in seconds. */
const AWAY_S = howMany({ sample: 8, full: 60 });

test('the database goes away in the middle of an order: the machine boots and is deployed, and the result arrives once afterwards', async (t) => {
  // The order is made at a server to which no link of the branch leads: what it hears comes through the database.
  const { meeting, hq, branch, office } = await startOutageSites(root, ['till', 'desk']);
  const order = await orderFrom(office, 'till');
  const waits = /image debian@1 is not here yet; it comes with a replication run/;
  for (const node of [office, hq])
    await eventually(`${node.name} says what the order waits for`, async () => waits.test((await seenAt(node, order.id))?.note ?? ''));
  await replicate(branch);
  await hasBegun(branch, order.id);

  await meeting.mariadb.kill();
  const stopped = performance.now();
  await eventually('the branch knows it', async () => branch.site.shared?.state().state === 'unreachable');
  const { serving } = branch;
  assert.ok(serving);
  const server: TestServer = { site: branch.site, serving, folder: root, pin: branch.site.keys.caPin, clock: { offsetMs: 0 } };
  assert.match(await bootScript(serving.httpUrl, mac(1)), /^kernel http/m);
  await playDeployment(t, { server, root, orderId: order.id, address: mac(1) });
  const own = await createOrder(branch.site, { targetRef: 'desk', imageRef: 'debian', actor: 'test' });
  await playDeployment(t, { server, root, orderId: own.id, address: mac(2) });
  // Made while the database is away, at both ends of it.
  const during = await orderFrom(office, 'desk');
  await sleep(Math.max(0, AWAY_S * 1000 - (performance.now() - stopped)));
  assert.notEqual((await seenAt(office, order.id))?.state, 'current');
  const awaySeconds = (performance.now() - stopped) / 1000;
  await meeting.mariadb.start();
  const back = performance.now();

  for (const { id } of [order, own]) {
    const { revision } = await viewOrder(branch.site, await getOrder(branch.site, id));
    await eventually('the result is there', async () => {
      const seen = await seenAt(office, id);
      return seen?.state === 'current' && seen.revision === revision;
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
