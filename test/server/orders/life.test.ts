import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { runAgent } from '../../../agent/loop.ts';
import { parseMac } from '../../../core/ids.ts';
import { listEvents } from '../../../server/db/events.ts';
import { hasActiveOrder } from '../../../server/db/orders.ts';
import { approveAgent } from '../../../server/orders/approve.ts';
import { callHome } from '../../../server/orders/call-home.ts';
import { expireOrders } from '../../../server/orders/expiry.ts';
import { sayHello } from '../../../server/orders/hello.ts';
import { instruct } from '../../../server/orders/instruct.ts';
import { createOrder, getOrder, listOrders, stopOrder } from '../../../server/orders/orders.ts';
import { takeReport } from '../../../server/orders/report.ts';
import { viewOrder } from '../../../server/orders/view.ts';
import { addTarget, createBoot, getTarget } from '../../../server/targets.ts';
import { diskImage, inventoryOf, MIB, machineWith } from '../../agent/fixtures.ts';
import { agentWorld, bootTarget, importDisk, orderDemo, startServer, type TestServer, untilState } from '../../agent/helpers.ts';
import { writeRandomDisk } from '../../helpers/lab/disks.ts';

const KEY = `sha256:${'11'.repeat(32)}` as never;
const OTHER_KEY = `sha256:${'22'.repeat(32)}` as never;
const here = new AbortController().signal;

async function prepare(t: TestContext, options: Parameters<typeof startServer>[1] = {}) {
  const server = await startServer(t, options);
  await importDisk(server, diskImage(6 * MIB));
  return { server, ...(await bootTarget(server)) };
}

function hello(server: TestServer, bootId: string, keyId = KEY) {
  return sayHello(server.site, keyId, { protocol: 1, bootId, agentVersion: 'test', inventory: inventoryOf({ sizeBytes: 99 * MIB }) });
}

const eventKinds = async (server: TestServer, subject: string) => (await listEvents(server.site.db, { subject })).map(({ kind }) => kind);

test('an order walks from activated to current, and only the nonce makes it current', async (t) => {
  const { server, targetId, bootId } = await prepare(t);
  const { site } = server;
  const order = await orderDemo(server);
  assert.equal(order.state, 'activated');
  assert.equal(await hasActiveOrder(site.db, targetId), true);
  await hello(server, bootId);
  assert.equal((await getOrder(site, order.id)).state, 'pending');
  const agent = { targetId, keyId: KEY };
  const instruction = await instruct(site, agent, here);
  assert.equal(instruction.action, 'task');
  const call = { orderId: order.id, nonce: order.nonce, from: '192.0.2.1' };
  await assert.rejects(callHome(site, call), { code: 'wrong_state' });
  const progress = { stage: 'writing', doneBytes: 43, totalBytes: 100, percent: 43, etaSeconds: 1 };
  assert.deepEqual(await takeReport(site, agent, { orderId: order.id, event: 'progress', progress }), { state: 'installing' });
  assert.equal((await getTarget(site, 'box')).activity, 'deploying 43 %');
  for (const _again of [1, 2]) {
    assert.deepEqual(await takeReport(site, agent, { orderId: order.id, event: 'verified' }), { state: 'installing' });
  }
  assert.equal(await hasActiveOrder(site.db, targetId), false);
  assert.equal((await instruct(site, agent, here)).action, 'reboot');
  await assert.rejects(callHome(site, { ...call, nonce: '00'.repeat(32) }), { code: 'token_wrong' });
  for (const _again of [1, 2]) assert.deepEqual(await callHome(site, call), { state: 'current' });
  const kinds = ['order.activated', 'order.pending', 'order.installing', 'order.verified', 'order.call-home-refused', 'order.current'];
  assert.deepEqual(await eventKinds(server, order.id), kinds);
  assert.equal((await getTarget(site, 'box')).environment, 'disk');
  await orderDemo(server);
});

test('what cannot be ordered is refused with a code and words', async (t) => {
  const { server } = await prepare(t);
  const { site } = server;
  await addTarget(site, { name: 'arm' as never, macs: ['52:54:00:00:00:02' as never], arch: 'arm64' }, 'test');
  await addTarget(site, { name: 'efi' as never, macs: ['52:54:00:00:00:03' as never], firmware: 'uefi' }, 'test');
  const order = (targetRef: string, imageRef: string) => createOrder(site, { targetRef, imageRef, actor: 'test' });
  await assert.rejects(order('nobody', 'demo'), { code: 'not_found', message: /no target "nobody"/ });
  await assert.rejects(order('box', 'nothing'), { code: 'not_found', message: /no published image "nothing"/ });
  await assert.rejects(order('arm', 'demo'), { code: 'does_not_fit', message: /is for amd64, target arm is arm64/ });
  await assert.rejects(order('efi', 'demo'), { code: 'does_not_fit', message: /boots with bios firmware, target efi has uefi/ });
  const first = await order('box', 'demo');
  assert.equal(first.imageReference, 'demo@1');
  await assert.rejects(order('box', 'demo'), { code: 'wrong_state', message: new RegExp(first.id) });
  assert.equal((await listOrders(site)).items.length, 1);
});

test('of two orders made at the same moment one is refused', async (t) => {
  const { server } = await prepare(t);
  const results = await Promise.allSettled([orderDemo(server), orderDemo(server)]);
  assert.deepEqual(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  const refusal = results.find((result) => result.status === 'rejected');
  assert.equal(refusal?.reason.code, 'wrong_state');
});

test('orders are listed in the order in which they were made, also after the clock was set back', async (t) => {
  const { server } = await prepare(t);
  const first = await orderDemo(server);
  await addTarget(server.site, { name: 'next' as never, macs: [parseMac('525400aabbcc')] }, 'test');
  const yesterday = { ...server.site, now: () => Date.now() - 86_400_000 };
  const second = await createOrder(yesterday, { targetRef: 'next', imageRef: 'demo', actor: 'test' });
  assert.deepEqual(
    (await listOrders(server.site, {})).items.map(({ id }) => id),
    [second.id, first.id],
  );
});

test('an order that no agent holds is stopped at once, and its target is free', async (t) => {
  const { server } = await prepare(t);
  const order = await orderDemo(server);
  for (const _again of [1, 2]) assert.equal((await stopOrder(server.site, order.id, 'test')).state, 'stopped');
  await orderDemo(server);
});

test('an order that an agent holds is cancelling until the agent lets go', async (t) => {
  const { server, targetId, bootId } = await prepare(t);
  const { site } = server;
  const agent = { targetId, keyId: KEY };
  const order = await orderDemo(server);
  await hello(server, bootId);
  await instruct(site, agent, here);
  assert.equal((await stopOrder(site, order.id, 'test')).state, 'cancelling');
  assert.deepEqual(await takeReport(site, agent, { orderId: order.id, event: 'progress' }), { state: 'cancelling' });
  assert.deepEqual(await takeReport(site, agent, { orderId: order.id, event: 'verified' }), { state: 'cancelling' });
  assert.deepEqual(await instruct(site, agent, here), { action: 'stop', orderId: order.id });
  for (const _again of [1, 2])
    assert.deepEqual(await takeReport(site, agent, { orderId: order.id, event: 'released' }), { state: 'stopped' });
});

test('an agent at work lets go of a stopped order and is there for the next one', async (t) => {
  const slow = (store: TestServer['site']['store']) => ({
    readFrames: async (digests: Parameters<typeof store.readFrames>[0]) => {
      // More than one digest is content: it comes when the order is being stopped, not before.
      if (digests.length > 1) await stopping.promise;
      return store.readFrames(digests);
    },
  });
  const stopping = Promise.withResolvers<void>();
  const { server, bootId } = await prepare(t, { patchStore: slow });
  const disk = join(server.folder, 'disk');
  await writeRandomDisk(disk, 8 * MIB);
  const order = await orderDemo(server);
  const machine = await machineWith(disk);
  const running = runAgent(await agentWorld(t, server, { bootId }, machine));
  await untilState(server, order.id, 'installing');
  await stopOrder(server.site, order.id, 'test');
  await untilState(server, order.id, 'stopped');
  stopping.resolve();
  const next = await orderDemo(server);
  await running;
  assert.equal((await getOrder(server.site, next.id)).diskWritten, true);
  assert.equal(machine.did.at(-1), 'reboot');
});

test('a second key is refused while an order runs: told once as an event, shown with the target, and it cannot work', async (t) => {
  const { server, targetId, bootId } = await prepare(t);
  await orderDemo(server);
  await hello(server, bootId);
  for (const _again of [1, 2]) await assert.rejects(hello(server, bootId, OTHER_KEY), { code: 'denied' });
  const later = await createBoot(server.site, targetId, 'engine');
  await assert.rejects(hello(server, later, OTHER_KEY), { code: 'denied', message: /heard of less than 60 s ago/ });
  assert.deepEqual((await eventKinds(server, targetId)).filter((kind) => kind === 'agent.key-refused').length, 1);
  const stranger = await agentWorld(t, server, { bootId }, await machineWith(join(server.folder, 'demo.raw')));
  await assert.rejects(stranger.client.next(here), { code: 'denied' });
  const row = await server.site.db('agent_keys').where({ target_id: targetId }).first();
  assert.equal(row.refused_key_id, OTHER_KEY);
});

test('a boot id that nobody gave out, and an agent of another protocol, are refused', async (t) => {
  const { server, bootId } = await prepare(t);
  await assert.rejects(hello(server, '01890000-0000-7000-8000-000000000000'), { code: 'denied' });
  const old = { protocol: 99, bootId, agentVersion: 'test', inventory: inventoryOf({ sizeBytes: MIB }) };
  await assert.rejects(sayHello(server.site, KEY, old), { code: 'version_mismatch' });
});

test('under the policy operator a key waits until it is approved over the API', async (t) => {
  const { server, targetId, bootId } = await prepare(t, { flags: { approve: 'operator' } });
  await assert.rejects(hello(server, bootId), { code: 'waiting' });
  await assert.rejects(approveAgent(server.site, 'box', OTHER_KEY, 'test'), { code: 'wrong_state' });
  assert.deepEqual(await approveAgent(server.site, 'box', KEY, 'test'), { targetId, keyId: KEY });
  assert.equal((await hello(server, bootId)).targetId, targetId);
});

test('a deployed system that does not call home in time fails its order with words; the nonce is worth nothing afterwards', async (t) => {
  const { server, targetId, bootId } = await prepare(t, { flags: { callHomeSeconds: 120 } });
  const { site } = server;
  const agent = { targetId, keyId: KEY };
  const order = await orderDemo(server);
  await hello(server, bootId);
  await instruct(site, agent, here);
  await takeReport(site, agent, { orderId: order.id, event: 'verified' });
  const seen = new Map<string, number>();
  for (const monotonicMs of [1000, 120_999]) await expireOrders(site, seen, monotonicMs);
  assert.equal((await getOrder(site, order.id)).state, 'installing');
  await expireOrders(site, seen, 121_000);
  const failed = await viewOrder(site, await getOrder(site, order.id));
  assert.equal(failed.state, 'failed');
  assert.match(failed.error?.message ?? '', /did not call home within 2 minutes/);
  await assert.rejects(callHome(site, { orderId: order.id, nonce: order.nonce, from: 'x' }), { code: 'wrong_state' });
});

test('an order whose agent fell silent keeps its state and says since when; when it is stopped it ends without the agent', async (t) => {
  const { server, targetId, bootId } = await prepare(t);
  const { site } = server;
  const order = await orderDemo(server);
  await hello(server, bootId);
  await instruct(site, { targetId, keyId: KEY }, here);
  assert.equal((await viewOrder(site, await getOrder(site, order.id))).silentSince, null);
  server.clock.offsetMs = 31_000;
  const view = await viewOrder(site, await getOrder(site, order.id));
  assert.equal(view.state, 'installing');
  assert.match(view.silentSince ?? '', /^\d{4}-\d\d-\d\dT/);
  await stopOrder(site, order.id, 'test');
  const seen = new Map<string, number>();
  for (const monotonicMs of [0, 119_000]) await expireOrders(site, seen, monotonicMs);
  assert.equal((await getOrder(site, order.id)).state, 'cancelling');
  await expireOrders(site, seen, 120_000);
  assert.equal((await getOrder(site, order.id)).state, 'stopped');
});

test('a failure is told with its words, once, and a report after the end changes nothing', async (t) => {
  const { server, targetId, bootId } = await prepare(t);
  const { site } = server;
  const agent = { targetId, keyId: KEY };
  const order = await orderDemo(server);
  await hello(server, bootId);
  await instruct(site, agent, here);
  const error = { code: 'does_not_fit', message: 'the disk is too small' };
  for (const _again of [1, 2])
    assert.deepEqual(await takeReport(site, agent, { orderId: order.id, event: 'failed', error }), { state: 'failed' });
  await takeReport(site, agent, { orderId: order.id, event: 'verified' });
  const ended = await getOrder(site, order.id);
  assert.deepEqual(ended.error, error);
  assert.equal(ended.diskWritten, false);
  const stranger = {
    targetId: (await addTarget(site, { name: 'b' as never, macs: ['52:54:00:00:00:09' as never] }, 'test')).id,
    keyId: OTHER_KEY,
  };
  await assert.rejects(takeReport(site, stranger, { orderId: order.id, event: 'progress' }), { code: 'not_found' });
});
