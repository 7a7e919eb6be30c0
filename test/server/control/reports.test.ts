import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ReportBatch } from '../../../core/control-protocol.ts';
import { type Id, type Name, newId, parseMac } from '../../../core/ids.ts';
import { askBelow } from '../../../server/control/ask.ts';
import { dispatch } from '../../../server/control/dispatch.ts';
import { newestMarks, readBatch } from '../../../server/control/own-reports.ts';
import { regroupTarget } from '../../../server/control/place.ts';
import { MOST_SERVERS, receiveReports } from '../../../server/control/receive.ts';
import { findServerBelow, statusOf } from '../../../server/control/servers-below.ts';
import { listAllTargets, locateTarget, showTarget } from '../../../server/control/things-below.ts';
import { appendEvent } from '../../../server/db/events.ts';
import { inTransaction } from '../../../server/db/open.ts';
import { putOrigin } from '../../../server/db/origins.ts';
import { markChanged } from '../../../server/db/outbox.ts';
import { findReported, putReported } from '../../../server/db/reported.ts';
import { viewServers } from '../../../server/panel/server-views.ts';
import { addTarget, noteTarget, removeTarget } from '../../../server/targets.ts';
import { eventsArrived, eventually, makeNode, type Node } from '../../helpers/control-sites.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';
import { joinChild } from '../api/callers.ts';

const root = await temporaryDirectory('reports');
let hq: Node;
let relay: Node;
let branch: Node;

before(async () => {
  hq = await makeNode(root, 'hq');
  relay = await makeNode(root, 'relay', hq);
  branch = await makeNode(root, 'branch', relay);
});
after(async () => {
  for (const node of [branch, relay, hq]) await node.close();
});

const mac = (n: number) => parseMac(`5254000000${n.toString(16).padStart(2, '0')}`);
const namesAt = async (node: Node) => (await listAllTargets(node.site, {})).items.map(({ name, server }) => `${name} at ${server}`);
const add = (node: Node, name: string, n: number) => addTarget(node.site, { name: name as never, macs: [mac(n)] }, 'test');

async function makeEvents(node: Node, count: number): Promise<void> {
  await inTransaction(node.site.db, async (trx) => {
    const event = { origin: node.site.self.id, at: 1, actor: 'test', kind: 'test.happened', subject: 's' };
    for (let n = 0; n < count; n += 1) await appendEvent(trx, { ...event, data: { n } });
  });
  node.site.wake.notify('events');
}

test('what a branch behind a relay has is shown at headquarters with its server, and what goes there goes here', async () => {
  const target = await add(branch, 'till', 1);
  await add(hq, 'desk', 2);
  await eventually('the target is known', async () => (await namesAt(hq)).includes('till at branch'));
  assert.deepEqual((await namesAt(hq)).sort(), ['desk at hq', 'till at branch']);
  assert.deepEqual(await namesAt(relay), ['till at branch']);
  for (const word of ['till', target.id, mac(1), '52-54-00-00-00-01']) assert.equal((await showTarget(hq.site, word)).id, target.id);
  await noteTarget(branch.site, target.id, { activity: 'humming' });
  await eventually('its activity is known', async () => (await showTarget(hq.site, 'till')).activity === 'humming');
  await removeTarget(branch.site, await branchTarget(), 'test');
  await eventually('it is gone', async () => !(await namesAt(hq)).includes('till at branch'));
  await assert.rejects(showTarget(hq.site, 'till'), { code: 'not_found' });
  assert.deepEqual(
    (await viewServers(hq.site)).filter(({ relation }) => relation === 'behind').map(({ name, via }) => [name, via]),
    [['branch', 'relay']],
  );
  assert.equal((await statusOf(hq.site.db, branch.site.self.id))?.report.name, 'branch');
});

async function branchTarget() {
  const located = await locateTarget(branch.site, 'till');
  assert.ok(located.where === 'here');
  return located.target;
}

test('after an outage of any length everything arrives once and in order, also when it takes many requests', async () => {
  await hq.stop();
  await makeEvents(branch, 450);
  for (const n of [10, 11, 12]) await add(branch, `till-${n}`, n);
  await makeEvents(relay, 3);
  await hq.start();
  await eventually('all events are there', () => eventsArrived(branch.site, hq.site));
  await eventually('those of the relay as well', () => eventsArrived(relay.site, hq.site));
  await eventually('the targets too', async () => (await namesAt(hq)).filter((name) => name.endsWith('at branch')).length === 3);
});

test('what headquarters wants of a server behind a relay goes through it, and its log comes back', async () => {
  await regroupTarget(hq.site, 'till-10', 'foyer' as Name, 'test');
  const groupAt = async (node: Node) => (await showTarget(node.site, 'till-10')).group;
  await eventually('it is done and told', async () => (await groupAt(branch)) === 'foyer' && (await groupAt(hq)) === 'foyer');
  branch.site.log.info('far away', { orderId: 'far' });
  const below = await findServerBelow(hq.site.db, 'branch');
  assert.equal(below.via, relay.site.self.id);
  await eventually('the line comes', async () =>
    JSON.stringify(await askBelow(hq.site, below, { kind: 'logs', query: { order: 'far', limit: 5 } })).includes('far away'),
  );
  const nobody = { id: newId(), via: relay.site.self.id, name: 'nobody' };
  await assert.rejects(askBelow(hq.site, nobody, { kind: 'logs', query: { limit: 5 } }), {
    code: 'not_found',
    message: /not known to server relay/,
  });
});

test('an order that cannot be delivered fails in words where it was made', async () => {
  const lost = newId();
  const to = { id: lost, via: relay.site.self.id, name: 'lost' };
  const orderId = newId();
  await dispatch(hq.site, to, { kind: 'order.create', body: { orderId } as never, actor: 'test' }, async (trx) => {
    await putReported(trx, { origin: lost, kind: 'order', subject: orderId, seq: 0, body: { id: orderId, state: 'planned' }, at: 1 });
    await putOrigin(trx, { id: lost, via: relay.site.self.id, seenAt: 1 });
  });
  const body = await eventually('it fails', async () => {
    const [row] = await findReported(hq.site.db, 'order', orderId);
    return (row?.body as { state?: string } | undefined)?.state === 'failed' && JSON.stringify(row?.body);
  });
  assert.match(body, /is not known to server relay/);
});

test('a batch that comes twice, late or early changes nothing, and the answer says what is to come', async () => {
  const child = await joinChild(hq.site, 'twin');
  const batch: ReportBatch = { stream: 'events', origin: child.id, after: 0, items: [1, 2, 3].map(eventOf) };
  const send = async (...batches: ReportBatch[]) =>
    (await receiveReports(hq.site, child.id, { protocol: 1, batches })).marks.map(({ seq }) => seq);
  assert.deepEqual(await send({ ...batch, items: [] }), [0]);
  assert.deepEqual(await send(batch, batch), [3, 3]);
  assert.deepEqual(await send(batch), [3]);
  assert.deepEqual(await send({ ...batch, after: 1, items: [2, 3, 4].map(eventOf) } as ReportBatch), [3]);
  assert.deepEqual(await send({ ...batch, after: 7, items: [eventOf(8)] } as ReportBatch), [3]);
  assert.deepEqual(await send({ ...batch, after: 3, items: [eventOf(4)] } as ReportBatch), [4]);
  await assert.rejects(send({ ...batch, after: 4, items: [eventOf(6)] } as ReportBatch), { code: 'bad_data' });
  const stored = await hq.site.db('events').where({ origin: child.id }).orderBy('seq').pluck('seq');
  assert.deepEqual(stored.map(Number), [1, 2, 3, 4]);
});

function eventOf(seq: number) {
  return { seq, at: 1, actor: 'a', kind: 'k', subject: 's', data: { seq } };
}

test('a parent that was set back asks for what it lost and gets it', async () => {
  await eventually('all is there', () => eventsArrived(branch.site, relay.site));
  await relay.site.db('events').where({ origin: branch.site.self.id }).where('seq', '>', 5).delete();
  await relay.site.db('report_marks').where({ origin: branch.site.self.id, stream: 'events' }).update({ seq: 5 });
  await makeEvents(branch, 1);
  await eventually('all is there again', () => eventsArrived(branch.site, relay.site));
  assert.ok(await eventually('and at headquarters', () => eventsArrived(branch.site, hq.site)));
});

test('a parent that was set back hears it all again, also from a child that has nothing new to say', async () => {
  await eventually('all is there', () => eventsArrived(branch.site, relay.site));
  await relay.stop();
  await relay.site.db('events').where({ origin: branch.site.self.id }).where('seq', '>', 5).delete();
  await relay.site.db('report_marks').where({ origin: branch.site.self.id, stream: 'events' }).update({ seq: 5 });
  await relay.start();
  await eventually('all is there again', () => eventsArrived(branch.site, relay.site));
});

test('a server reports for itself and for those behind it, and for nobody else', async () => {
  const stranger = await joinChild(hq.site, 'stranger');
  const refusalOf = async (origin: Id) => {
    const batch: ReportBatch = { stream: 'events', origin, after: 0, items: [eventOf(1)] };
    return (await receiveReports(hq.site, stranger.id, { protocol: 1, batches: [batch] })).marks[0]?.refused;
  };
  const before = await hq.site.db('events').count({ count: '*' });
  for (const origin of [hq.site.self.id, relay.site.self.id, branch.site.self.id])
    assert.match((await refusalOf(origin)) ?? '', /may not report for server/);
  assert.deepEqual(await hq.site.db('events').count({ count: '*' }), before);
  assert.equal(await refusalOf(stranger.id), undefined);
  const behind = newId();
  assert.equal(await refusalOf(behind), undefined);
  const other = await joinChild(hq.site, 'other');
  const batch: ReportBatch = { stream: 'events', origin: behind, after: 1, items: [eventOf(2)] };
  assert.match((await receiveReports(hq.site, other.id, { protocol: 1, batches: [batch] })).marks[0]?.refused ?? '', /may not report/);
  await assert.rejects(receiveReports(hq.site, stranger.id, { protocol: 9, batches: [] }), { code: 'version_mismatch' });
});

test('a child cannot make up servers without end, nor leave anything by asking about them', async () => {
  const child = await joinChild(hq.site, 'inventor');
  const tell = async (origin: Id, items = [eventOf(1)]) =>
    (await receiveReports(hq.site, child.id, { protocol: 1, batches: [{ stream: 'events', origin, after: 0, items }] })).marks[0];
  const asked = newId();
  assert.deepEqual(await tell(asked, []), { origin: asked, stream: 'events', seq: 0 });
  assert.deepEqual(await hq.site.db('report_marks').where({ origin: asked }), []);
  const known = newId();
  assert.equal((await tell(known))?.seq, 1);
  const rows = Array.from({ length: MOST_SERVERS - 1 }, () => ({ id: newId(), via: child.id, first_at: 1, seen_at: 1 }));
  await hq.site.db.batchInsert('origins', rows, 100);
  const refused = newId();
  assert.match((await tell(refused))?.refused ?? '', /reports for 1000 servers already/);
  for (const table of ['report_marks', 'events']) assert.deepEqual(await hq.site.db(table).where({ origin: refused }), []);
  assert.equal((await tell(known))?.refused, undefined, 'those that are known are still reported for');
  assert.equal((await tell(child.id))?.seq, 1, 'and the child reports for itself');
});

test('a flood of events costs bounded space: the newest are kept, and who is told of them finds no gap', async () => {
  const child = await joinChild(hq.site, 'flood');
  const origin = child.id;
  const rows = Array.from({ length: MOST_SERVERS - 1 }, () => ({ id: newId(), via: origin, first_at: 1, seen_at: 1 }));
  await hq.site.db.batchInsert('origins', rows, 100);
  const tell = (after: number, data: Record<string, string> = {}) =>
    receiveReports(hq.site, child.id, {
      protocol: 1,
      batches: [{ stream: 'events', origin, after, items: [{ ...eventOf(after + 1), data }] }],
    });
  await tell(0);
  const old = Array.from({ length: 2499 }, (_, n) => ({ origin, ...eventOf(n + 2), data: '{}' }));
  await hq.site.db.batchInsert('events', old, 100);
  await hq.site.db('report_marks').where({ origin }).update({ seq: 2500 });
  await tell(2500, { long: 'x'.repeat(20_000) });
  const kept = await hq.site.db('events').where({ origin }).orderBy('seq');
  assert.deepEqual([kept.length, Number(kept[0].seq)], [2000, 502]);
  assert.equal(kept.at(-1).data, '{"truncated":true}');
  for (const after of [0, 400, 501, 2400]) {
    const { items } = await readBatch(hq.site, { origin, stream: 'events' }, after, 200);
    const seqs = items.map(({ seq }) => seq);
    assert.deepEqual(
      seqs,
      seqs.map((_, n) => after + 1 + n),
    );
    assert.deepEqual([items.length, items[0]?.kind], [Math.min(200, 2501 - after), after < 501 ? 'event.lost' : 'k']);
  }
});

test('a report that is no target, and one that is too long, harm nobody but their sender', async () => {
  const child = await joinChild(hq.site, 'liar');
  const send = (body: never) =>
    receiveReports(hq.site, child.id, {
      protocol: 1,
      batches: [{ stream: 'states', origin: child.id, after: 0, items: [{ seq: 1, kind: 'target', subject: newId(), body }] }],
    });
  const known = await namesAt(hq);
  await assert.rejects(send('x'.repeat(70_000) as never), { code: 'bad_data' });
  await send({ id: 'no', macs: 'none' } as never);
  assert.deepEqual(await namesAt(hq), known);
});

test('what a server tells of its orders carries no nonce', async () => {
  for (const { origin, stream } of (await newestMarks(branch.site)).filter(({ stream }) => stream === 'states')) {
    assert.doesNotMatch(JSON.stringify(await readBatch(branch.site, { origin, stream }, 0, 1000)), /nonce/);
  }
});

test('a disk that does not answer keeps nobody from the database while a report is made', async () => {
  await markChanged(branch.site.db, 'server', branch.site.self.id);
  // Who opens a pipe without a writer waits, in one of the four threads that ask disks.
  const pipe = join(root, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const asked = Array.from({ length: 4 }, () => open(pipe, 'r'));
  const report = readBatch(branch.site, { origin: branch.site.self.id, stream: 'states' }, 0, 1000);
  const answer = await Promise.race([branch.site.db('servers').first('id'), sleep(5_000, 'no answer')]);
  closeSync(openSync(pipe, 'w'));
  for (const file of await Promise.all(asked)) await file.close();
  assert.notEqual(answer, 'no answer');
  assert.ok((await report).items.some(({ kind }) => kind === 'server'));
});
