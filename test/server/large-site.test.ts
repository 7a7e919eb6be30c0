import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { makeIdentity } from '../../agent/identity.ts';
import { type Id, newId } from '../../core/ids.ts';
import { bootScriptFor } from '../../server/boot/decide.ts';
import { parseMachine } from '../../server/boot/machine.ts';
import { readBatch } from '../../server/control/own-reports.ts';
import { storeBatch } from '../../server/control/receive.ts';
import { findServerBelow } from '../../server/control/servers-below.ts';
import { describeSelf } from '../../server/control/status.ts';
import { listAllOrders, listAllTargets, locateOrder, showTarget } from '../../server/control/things-below.ts';
import { inTransaction } from '../../server/db/open.ts';
import { newestChange } from '../../server/db/outbox.ts';
import { listChildHoldings } from '../../server/holdings/children.ts';
import { acceptOrder, activateWaiting } from '../../server/orders/accept.ts';
import { callHome } from '../../server/orders/call-home.ts';
import { expireOrders } from '../../server/orders/expiry.ts';
import { sayHello } from '../../server/orders/hello.ts';
import { instruct } from '../../server/orders/instruct.ts';
import { createOrder, getOrder, stopOrder } from '../../server/orders/orders.ts';
import { takeReport } from '../../server/orders/report.ts';
import { listServerViews, viewServers } from '../../server/panel/server-views.ts';
import { readServerTree } from '../../server/panel/tree.ts';
import type { Site } from '../../server/site.ts';
import { inventoryOf, MIB } from '../agent/fixtures.ts';
import { reopenSite } from '../helpers/replication-sites.ts';
import { idOf, machineOf } from '../helpers/scale/machines.ts';
import { fillSite } from '../helpers/scale/world.ts';
import { scansOf, statementsOf } from '../helpers/statements.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

/*
 * What a server does for machines and people costs the same whatever it holds (bench/store.ts measures it with 10,000 machines and 100,000
 * orders; here it is held by how the database would do each statement, and by how many there are).
 */

const SIZE = { targets: 60, orders: 600, servers: 12, below: { targets: 5, orders: 30 } };
const root = await temporaryDirectory('large-site');
const here = new AbortController().signal;
let site: Site;

before(async () => {
  await fillSite(root, 'hq', SIZE);
  site = await reopenSite(root, 'hq');
});
after(() => site?.close());

async function readsNoWholeTable(work: () => Promise<unknown>): Promise<void> {
  const statements = await statementsOf(site.db, work);
  assert.ok(statements.length > 0);
  assert.deepEqual(await scansOf(site.db, statements), []);
}

const script = (query: Record<string, string>) => bootScriptFor(site, parseMachine({ arch: 'x86_64', ...query }), 'http://192.0.2.1');

test('a page of a list reads what it shows, at its beginning, in its depth and for one machine', () =>
  readsNoWholeTable(async () => {
    const targets = await listAllTargets(site, { limit: 10 });
    assert.equal(targets.items.length, 10);
    await listAllTargets(site, { limit: 10, after: machineOf(0, 30).targetId });
    const orders = await listAllOrders(site, { limit: 10 });
    assert.equal(orders.items.length, 10);
    await listAllOrders(site, { limit: 10, before: idOf('order', 300, 360) });
    const own = await listAllOrders(site, { target: machineOf(0, 7).mac });
    assert.deepEqual(new Set(own.items.map(({ target }) => target)), new Set([machineOf(0, 7).name]));
    assert.equal(own.items.length, 10);
    const below = await listAllOrders(site, { target: machineOf(3, 2).uuid });
    assert.deepEqual([below.items.length, new Set(below.items.map(({ server }) => server))], [6, new Set(['branch-3'])]);
    await showTarget(site, machineOf(0, 3).mac);
    await locateOrder(site, orders.items[3]?.id ?? '');
  }));

test('a machine is answered without a look at the others, known by its address, by its UUID, or not at all', () =>
  readsNoWholeTable(async () => {
    assert.match(await script({ mac: machineOf(0, 21).mac }), /sanboot/);
    assert.match(await script({ uuid: machineOf(0, 22).uuid, serial: machineOf(0, 22).serial }), /sanboot/);
    assert.match(await script({ mac: machineOf(0, 40).mac }), /ws\.boot=/);
    assert.match(await script({ mac: '52:54:00:99:99:99' }), /#!ipxe/);
  }));

test('an order goes from its making to its end without a look at the others', () =>
  readsNoWholeTable(async () => {
    const { targetId } = machineOf(0, 23);
    const { id, nonce } = await createOrder(site, { targetRef: targetId, imageRef: 'debian', actor: 'test' });
    const bootId = /ws\.boot=(\S+)/.exec(await script({ mac: machineOf(0, 23).mac }))?.[1] ?? '';
    const { keyId } = await makeIdentity();
    await sayHello(site, keyId, { protocol: 1, bootId, agentVersion: 'test', inventory: inventoryOf({ sizeBytes: 9 * MIB }) });
    const agent = { targetId: targetId as Id, keyId };
    assert.equal((await instruct(site, agent, here)).action, 'task');
    await takeReport(site, agent, { orderId: id, event: 'verified' });
    await expireOrders(site, new Map(), 0);
    await callHome(site, { orderId: id, nonce, from: '192.0.2.1' });
    const second = await createOrder(site, { targetRef: targetId, imageRef: 'debian', actor: 'test' });
    await stopOrder(site, second.id, 'test');
    await activateWaiting(site);
  }));

test('where all orders came from above, another one made there looks at none of them', async () => {
  const above = newId();
  await site.db('orders').update({ managed_by: above });
  await readsNoWholeTable(async () => {
    const order = await createOrder(site, { targetRef: machineOf(0, 25).targetId, imageRef: 'debian', actor: 'test' });
    const { manifest, imageId, imageReference: reference } = await getOrder(site, order.id);
    const params = { imageName: 'debian', arch: 'amd64', sizeBytes: 1, sectorSize: 512, bootType: 'bios', disk: null } as const;
    const command = { orderId: newId(), targetId: machineOf(0, 26).targetId, imageId, reference, manifest, params };
    await inTransaction(site.db, (trx) => acceptOrder(site, trx, command as never, { managedBy: above, by: 'test' }));
  });
  await site.db('orders').update({ managed_by: null });
});

test('what is told and heard of one thing is looked for by its number', () =>
  readsNoWholeTable(async () => {
    await describeSelf(site);
    const origin = site.self.id;
    const newest = await newestChange(site.db);
    const states = await readBatch(site, { origin, stream: 'states' }, newest - 5, 5);
    await readBatch(site, { origin, stream: 'events' }, 3, 5);
    const sender = idOf('server', 4, 4) as Id;
    const after = SIZE.below.targets + SIZE.below.orders + 1;
    const batch = { stream: 'states' as const, origin: sender, after, items: [{ ...states.items[0], seq: after + 1 }] };
    await inTransaction(site.db, (trx) => storeBatch(site, trx, batch as never, { sender, changed: new Set() }));
  }));

test('a page of a list takes as many statements as one line of it, and a list of servers as many as one of them', async () => {
  const count = async (work: () => Promise<unknown>) => (await statementsOf(site.db, work)).length;
  for (const list of [listAllTargets, listAllOrders])
    assert.equal(await count(() => list(site, { limit: 50 })), await count(() => list(site, { limit: 2 })));
  const rights = { mayReplicate: true, mayWriteServers: true, mayMakeArchives: true, mayLoad: true };
  const lists = [viewServers, (at: Site) => readServerTree(at, rights), listChildHoldings];
  // What is read of a report once is kept.
  await readServerTree(site, rights);
  const many: number[] = [];
  for (const list of lists) many.push(await count(() => list(site)));
  await site.db('servers').where('name', 'like', 'branch-1%').delete();
  await site.db('origins').whereNotIn('id', site.db('servers').select('id')).delete();
  const few: number[] = [];
  for (const list of lists) few.push(await count(() => list(site)));
  assert.deepEqual(few, many);
});

test('the list of servers is given in pages: this server first, each once, whatever came meanwhile', async () => {
  const all = (await viewServers(site)).map(({ id }) => id);
  assert.deepEqual([all.length > 8, all[0]], [true, site.self.id]);
  const paged: string[] = [];
  for (let after: string | undefined, left = all.length; left > 0; left -= 4) {
    const { items, next } = await listServerViews(site, { after, limit: 4 });
    assert.equal(items[0]?.status?.id, items[0]?.id);
    paged.push(...items.map(({ id }) => id));
    assert.equal(next, left <= 4 ? null : items.at(-1)?.id);
    after = next ?? undefined;
  }
  assert.deepEqual(paged, all);
  const [first] = (await listServerViews(site, { after: site.self.id, limit: 1 })).items;
  await site.db('servers').where({ id: first?.id }).delete();
  assert.equal((await listServerViews(site, { after: first?.id, limit: 1 })).items[0]?.id, all[2]);
});

test('a server behind another is found by what it calls itself, without the reports of the others', async () => {
  const [lost, via] = [5, 6].map((n) => idOf('server', n, n));
  await site.db('servers').where({ id: lost }).delete();
  await site.db('origins').where({ id: lost }).update({ via });
  const statements = await statementsOf(site.db, async () => {
    assert.deepEqual(await findServerBelow(site.db, 'branch-5'), { id: lost, name: 'branch-5', via });
    assert.equal((await findServerBelow(site.db, lost as string)).id, lost);
    await assert.rejects(findServerBelow(site.db, 'nobody'), { code: 'not_found' });
  });
  const reports = statements.filter(({ sql }) => /from `reported`/.test(sql));
  for (const { sql } of reports) assert.match(sql, /`origin` (= |in )/);
});
