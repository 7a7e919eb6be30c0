import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Json } from '../../../core/canonical-json.ts';
import { type Id, type Name, newId, parseMac } from '../../../core/ids.ts';
import { bootScriptFor } from '../../../server/boot/decide.ts';
import { applyCommand } from '../../../server/control/apply.ts';
import { askBelow } from '../../../server/control/ask.ts';
import { dispatch } from '../../../server/control/dispatch.ts';
import {
  approveAnywhere,
  forgetTarget,
  haltOrder,
  placeOrder,
  placeTarget,
  regroupTarget,
  setPolicy,
} from '../../../server/control/place.ts';
import { policyOf } from '../../../server/control/policies.ts';
import { findServerBelow, statusOf } from '../../../server/control/servers-below.ts';
import { listAllOrders, listAllTargets, locateOrder, showTarget } from '../../../server/control/things-below.ts';
import { getControlMark } from '../../../server/db/control-queue.ts';
import { listEvents } from '../../../server/db/events.ts';
import { inTransaction } from '../../../server/db/open.ts';
import { putReported } from '../../../server/db/reported.ts';
import { createOrder, getOrder } from '../../../server/orders/orders.ts';
import { viewOrder } from '../../../server/orders/view.ts';
import { addTarget, getTarget } from '../../../server/targets.ts';
import { eventually, makeNode, type Node, replicate } from '../../helpers/control-sites.ts';
import { importDisk, makeDisk } from '../../helpers/replication-sites.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';

const root = await temporaryDirectory('orders-below');
let hq: Node;
let branch: Node;

before(async () => {
  hq = await makeNode(root, 'hq');
  branch = await makeNode(root, 'branch', hq);
  await makeDisk(join(root, 'disk.raw'), 100_000);
  await importDisk(hq.site, join(root, 'disk.raw'));
  await replicate(branch);
});
after(async () => {
  await branch.close();
  await hq.close();
});

const mac = (n: number) => parseMac(`5254000000${n.toString(16).padStart(2, '0')}`);
const target = (node: Node, name: string, n: number) => addTarget(node.site, { name: name as Name, macs: [mac(n)] }, 'test');
const known = (name: string) => eventually(`${name} is known`, () => showTarget(hq.site, name).catch(() => undefined));
const stateAtHq = async (id: string) => {
  const located = await locateOrder(hq.site, id);
  return located.where === 'below' ? located.below.view : located.view;
};
const reaches = (id: string, state: string) =>
  eventually(`order is ${state}`, async () => {
    const view = await stateAtHq(id);
    return view.state === state && view;
  });
const order = (targetRef: string, imageRef = 'debian') => placeOrder(hq.site, { targetRef, imageRef, actor: 'operator:me' });

test('an order made at headquarters is what the machine at the branch boots for, within 5 s, under the same id', async () => {
  const { id: targetId } = await target(branch, 'till', 1);
  await known('till');
  const made = performance.now();
  const sent = await order('till');
  assert.deepEqual([sent.state, sent.server, sent.note], ['planned', 'branch', 'on its way to server branch']);
  const machine = { macs: [mac(1)], arch: 'amd64', firmware: 'bios' } as never;
  await eventually('the branch boots it for the order', async () => {
    await bootScriptFor(branch.site, machine, 'http://10.0.0.1');
    // Without an engine the script names the lack of one: what was decided is in the target's row.
    return (await getTarget(branch.site, 'till')).activity === 'no engine here; booting its disk';
  });
  const ms = performance.now() - made;
  assert.ok(ms < 5000, `${ms} ms`);
  const own = await getOrder(branch.site, sent.id);
  assert.deepEqual([own.state, own.targetId, own.managedBy, own.imageReference], ['activated', targetId, hq.site.self.id, 'debian@1']);
  const view = await reaches(sent.id, 'activated');
  assert.deepEqual([view.server, view.note], ['branch', null]);
  assert.equal((await listAllOrders(hq.site, { target: 'till' })).items[0]?.id, sent.id);
  const [event] = await listEvents(hq.site.db, { origin: branch.site.self.id, subject: sent.id });
  assert.deepEqual([event?.kind, event?.data['by']], ['order.activated', 'operator:me']);
  assert.equal((await haltOrder(hq.site, sent.id, 'test')).note, 'the stop is on its way to server branch');
  await reaches(sent.id, 'stopped');
  await assert.rejects(haltOrder(hq.site, (await failed()).id, 'test'), { code: 'wrong_state' });
});

async function failed() {
  const busy = await createOrder(branch.site, { targetRef: 'till', imageRef: 'debian', actor: 'test' });
  const sent = await order('till');
  const view = await reaches(sent.id, 'failed');
  assert.match(view.error?.message ?? '', new RegExp(`already has order ${busy.id}`));
  assert.equal((await getOrder(branch.site, busy.id)).state, 'activated');
  assert.equal((await branch.site.db('active_orders').where({ target_id: busy.targetId }).first()).order_id, busy.id);
  return view;
}

test('an order for an image that is still on its way waits and says so, and starts when the run has published it', async () => {
  await target(branch, 'desk', 2);
  await known('desk');
  await makeDisk(join(root, 'next.raw'), 50_000);
  await importDisk(hq.site, join(root, 'next.raw'), 'next');
  const sent = await order('desk', 'next');
  const waiting = await eventually('it waits', async () => {
    const view = await stateAtHq(sent.id);
    return view.note?.includes('not here yet') && view;
  });
  assert.equal(waiting.state, 'planned');
  await bootScriptFor(branch.site, { macs: [mac(2)], arch: 'amd64', firmware: 'bios' } as never, 'http://10.0.0.1');
  assert.equal((await getTarget(branch.site, 'desk')).activity, 'booting its disk');
  await replicate(branch);
  assert.equal((await reaches(sent.id, 'activated')).note, null);
  await assert.rejects(order('desk', 'nothing'), { code: 'not_found' });
});

test('targets, groups and approvals go down; what the branch cannot do comes back as words', async () => {
  const added = await placeTarget(hq.site, { name: 'kiosk' as Name, macs: [mac(3)], arch: 'arm64' }, { server: 'branch', actor: 'test' });
  assert.equal((await showTarget(hq.site, 'kiosk')).activity, 'on its way to its server');
  const own = await eventually('the branch has it', () => getTarget(branch.site, 'kiosk').catch(() => undefined));
  assert.deepEqual([own.id, own.arch], [added.id, 'arm64']);
  await assert.rejects(order('kiosk'), { code: 'does_not_fit' });
  await regroupTarget(hq.site, 'kiosk', 'foyer' as Name, 'test');
  await eventually(
    'its group is known',
    async () => (await showTarget(hq.site, 'kiosk')).group === 'foyer' && (await getTarget(branch.site, 'kiosk')).group === 'foyer',
  );
  await approveAnywhere(hq.site, 'kiosk', `sha256:${'1'.repeat(64)}` as never, 'test');
  const refusal = await eventually('the refusal is told', async () =>
    (await listEvents(hq.site.db, { origin: branch.site.self.id, limit: 1000 })).find(({ kind }) => kind === 'control.refused'),
  );
  assert.match(String(refusal.data['words']), /does not wait for target kiosk/);
  await forgetTarget(hq.site, 'kiosk', 'test');
  await eventually('it is gone', async () => (await showTarget(hq.site, 'kiosk').catch(() => undefined)) === undefined);
});

test('a machine that the branch knows already keeps its id there, and is shown once', async () => {
  const own = await addTarget(branch.site, { name: null, macs: [mac(4)] }, 'test');
  const added = await placeTarget(hq.site, { name: 'printer' as Name, macs: [mac(4)] }, { server: 'branch', actor: 'test' });
  assert.notEqual(added.id, own.id);
  await eventually('one target of that name is left', async () => {
    const named = (await listAllTargets(hq.site, {})).items.filter(({ name, macs }) => name === 'printer' || macs.includes(mac(4)));
    return named.length === 1 && named[0]?.id === own.id && named[0]?.name === 'printer';
  });
});

test('a policy set at headquarters counts at the branch and cannot be changed there', async () => {
  await setPolicy(branch.site, 'branch', { key: 'unknownTargets', value: 'disk' }, 'test');
  await setPolicy(hq.site, 'branch', { key: 'approve', value: 'operator' }, 'test');
  await eventually('it counts', async () => (await policyOf(branch.site, 'approve')) === 'operator');
  const refused = setPolicy(branch.site, 'branch', { key: 'approve', value: 'auto' }, 'test');
  await assert.rejects(refused, { code: 'not_permitted', message: /set by server hq/ });
  const settings = await eventually('it is shown', async () => {
    const report = (await statusOf(hq.site.db, branch.site.self.id))?.report;
    return report?.settings['approve']?.value === 'operator' && report.settings;
  });
  assert.deepEqual(settings['approve'], { value: 'operator', from: 'hq' });
  assert.deepEqual(settings['unknownTargets'], { value: 'disk', from: 'branch' });
  assert.deepEqual(settings['idleTargets'], { value: 'disk', from: 'configuration' });
  await setPolicy(hq.site, 'branch', { key: 'approve', value: null }, 'test');
  await eventually('it is given back', async () => (await policyOf(branch.site, 'approve')) === 'auto');
  await setPolicy(branch.site, 'branch', { key: 'approve', value: 'auto' }, 'test');
  await assert.rejects(setPolicy(hq.site, 'branch', { key: 'httpPort', value: '1' }, 'test'), { code: 'usage' });
});

test('the log of a branch is fetched when it is asked for, and an unknown question is answered in words', async () => {
  branch.site.log.info('a line of the branch', { orderId: 'abc', password: 'swordfish' });
  const below = await findServerBelow(hq.site.db, 'branch');
  const answer = await eventually('the line is written', async () => {
    const { items } = (await askBelow(hq.site, below, { kind: 'logs', query: { order: 'abc', limit: 10 } })) as { items: unknown[] };
    return items.length > 0 && JSON.stringify(items);
  });
  assert.match(answer, /a line of the branch/);
  assert.doesNotMatch(answer, /swordfish/);
  await assert.rejects(askBelow(hq.site, below, { kind: 'secrets', query: {} }), { code: 'version_mismatch' });
});

test('what was made while the branch was away is done once when it is back, in order, however often it is sent', async () => {
  await branch.stop();
  for (const group of ['a', 'b', 'c']) await regroupTarget(hq.site, 'desk', group as Name, 'test');
  const before = await getControlMark(branch.site.db, hq.site.self.id, 'applied');
  const queue = await hq.site.db('control_queue').where({ child_id: branch.site.self.id }).orderBy('seq');
  assert.deepEqual(
    queue.map(({ seq }) => Number(seq)),
    [before + 1, before + 2, before + 3],
  );
  const [first] = queue;
  const command = { ...first, seq: Number(first.seq), body: JSON.parse(first.body), createdAt: 1 };
  for (const _again of [1, 2]) await applyCommand(branch.site, hq.site.self.id, command);
  await branch.start();
  await eventually('all is done', async () => (await getControlMark(branch.site.db, hq.site.self.id, 'applied')) === before + 3);
  const groups = (await listEvents(branch.site.db, { limit: 1000, origin: branch.site.self.id })).filter(
    ({ kind }) => kind === 'target.grouped',
  );
  assert.deepEqual(
    groups.slice(-3).map(({ data }) => data['group']),
    ['a', 'b', 'c'],
  );
  await eventually('nothing waits any more', async () => (await hq.site.db('control_queue').select('id')).length === 0);
});

test('a branch that tells of an order under the id of ours hides nothing: ours is shown and stopped', async () => {
  await target(hq, 'counter', 40);
  const own = await createOrder(hq.site, { targetRef: 'counter', imageRef: 'debian', actor: 'test' });
  const { server: _server, ...claimed } = { ...(await viewOrder(hq.site, own)), state: 'current' };
  const row = { origin: branch.site.self.id, kind: 'order', subject: own.id, seq: 1, body: claimed as unknown as Json, at: 1 };
  await inTransaction(hq.site.db, (trx) => putReported(trx, row));
  const located = await locateOrder(hq.site, own.id);
  assert.deepEqual([located.where, located.where === 'here' && located.view.state], ['here', 'activated']);
  assert.equal((await haltOrder(hq.site, own.id, 'test')).state, 'stopped');
  assert.equal((await getOrder(hq.site, own.id)).state, 'stopped');
});

test('a command that this release does not understand is refused and does not stop those behind it', async () => {
  const to = await findServerBelow(hq.site.db, 'branch');
  await dispatch(hq.site, to, { kind: 'engine.paint' as never, body: { colour: 'red' } as never, actor: 'test' });
  await dispatch(hq.site, to, { kind: 'order.create', body: { orderId: newId(), targetId: 'x' } as never, actor: 'test' });
  await regroupTarget(hq.site, 'desk', 'last' as Name, 'test');
  await eventually('the last one is done', async () => (await getTarget(branch.site, 'desk')).group === ('last' as Id | string));
  const words = (await listEvents(branch.site.db, { limit: 1000, origin: branch.site.self.id }))
    .filter(({ kind }) => kind === 'control.refused')
    .map(({ data }) => String(data['words']));
  assert.ok(
    words.some((text) => text.includes('does not know the command "engine.paint"')),
    words.join('\n'),
  );
  assert.ok(
    words.some((text) => text.includes('order.create is not one that this release understands')),
    words.join('\n'),
  );
});

test('a parent that was set back numbers its commands on from what the child has done', async () => {
  const applied = await getControlMark(branch.site.db, hq.site.self.id, 'applied');
  await eventually('all is fetched', async () => (await getControlMark(hq.site.db, branch.site.self.id, 'down')) === applied);
  await branch.stop();
  await hq.site.db('control_marks').where({ peer_id: branch.site.self.id, direction: 'down' }).update({ seq: 1 });
  await regroupTarget(hq.site, 'desk', 'after' as Name, 'test');
  await branch.start();
  await eventually('it is done', async () => (await getTarget(branch.site, 'desk')).group === ('after' as string));
});
