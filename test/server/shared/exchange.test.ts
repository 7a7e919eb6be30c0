import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Name, parseMac } from '../../../core/ids.ts';
import { placeOrder, regroupTarget, setPolicy } from '../../../server/control/place.ts';
import { listPolicies } from '../../../server/control/policies.ts';
import { listAllTargets, locateOrder, showTarget } from '../../../server/control/things-below.ts';
import { getControlMark } from '../../../server/db/control-queue.ts';
import { appendEvent, listEvents } from '../../../server/db/events.ts';
import { getObject } from '../../../server/db/objects.ts';
import { inTransaction } from '../../../server/db/open.ts';
import { addTarget } from '../../../server/targets.ts';
import { eventsArrived, eventually, makeNode, type Node } from '../../helpers/control-sites.ts';
import { startMeetingNodes } from '../../helpers/meeting-nodes.ts';
import { importDisk, makeDisk } from '../../helpers/replication-sites.ts';
import { runCli } from '../../helpers/run-cli.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';

const root = await temporaryDirectory('exchange');
const { meeting, nodes } = await startMeetingNodes(root, ['hq', 'branch']);
const [hq, branch] = nodes;

const mac = (n: number) => parseMac(`5254000000${n.toString(16).padStart(2, '0')}`);
const add = (node: Node, name: string, n: number) => addTarget(node.site, { name: name as Name, macs: [mac(n)] }, 'test');
const namesAt = async (node: Node) => (await listAllTargets(node.site, {})).items.map(({ name, server }) => `${name} at ${server}`);

async function makeEvents(node: Node, count: number): Promise<void> {
  await inTransaction(node.site.db, async (trx) => {
    const event = { origin: node.site.self.id, at: 1, actor: 'test', kind: 'test.happened', subject: 's' };
    for (let n = 0; n < count; n += 1) await appendEvent(trx, { ...event, data: { n } });
  });
  node.site.wake.notify('events');
}

test('what one server has is shown at another that meets it in the database, without any link', async () => {
  await add(branch, 'till', 1);
  await eventually('the target is known', async () => (await namesAt(hq)).includes('till at branch'));
  assert.equal((await showTarget(hq.site, mac(1))).name, 'till');
  await eventually('every event is there once', () => eventsArrived(branch.site, hq.site));
  await eventually('also the other way round', () => eventsArrived(hq.site, branch.site));
});

test('what is asked of a machine at another server goes there through the database and is done once', async () => {
  const before = performance.now();
  await regroupTarget(hq.site, 'till', 'foyer' as Name, 'operator:me');
  await eventually('it is done', async () => (await showTarget(branch.site, 'till')).group === 'foyer');
  const took = performance.now() - before;
  assert.ok(took < 5_000, `it took ${took} ms`);
  await eventually('it is told', async () => (await showTarget(hq.site, 'till')).group === 'foyer');
  await eventually('it is forgotten here', async () => (await hq.site.db('control_queue').count({ n: '*' }).first())?.['n'] === 0);
  const done = (await listEvents(branch.site.db, { origin: branch.site.self.id, limit: 1000 })).filter(({ kind }) =>
    kind.startsWith('target.group'),
  );
  assert.equal(done.length, 1);
});

test('what only a link can bring is refused at once where none leads', async () => {
  const from = performance.now();
  const args = ['--data', hq.site.dataDir];
  for (const words of [
    ['logs', '--server', 'branch'],
    ['server', 'replicate', 'branch'],
  ]) {
    const { code, stderr } = await runCli([...args, ...words]);
    assert.deepEqual([code, /no link leads from here to server branch/.test(stderr)], [69, true], stderr);
  }
  assert.ok(performance.now() - from < 10_000);
});

test('what a server makes is known at the others, signed, and its content is not', async () => {
  await makeDisk(join(root, 'disk.raw'), 100_000);
  const image = await importDisk(hq.site, join(root, 'disk.raw'));
  const held = await eventually('the object is there', () => getObject(branch.site.db, image.id));
  assert.deepEqual(held, await getObject(hq.site.db, image.id));
  const row = await branch.site.db('images').where({ id: image.id }).first();
  assert.equal(row.state, 'known');
});

test('an order for a machine at another server waits there for its image, and both sides say so', async () => {
  const { id } = await placeOrder(hq.site, { targetRef: 'till', imageRef: 'debian', actor: 'operator:me' });
  const view = await eventually('the owner has spoken', async () => {
    const located = await locateOrder(hq.site, id);
    return located.where === 'below' && located.below.view.revision > 0 && located.below.view;
  });
  assert.equal(view.state, 'planned');
  assert.equal(view.note, 'image debian@1 is not here, and this server has no parent to take it from');
});

test('what a database has lost is told again, and nothing is doubled', async () => {
  await makeEvents(branch, 30);
  await eventually('all is told', () => eventsArrived(branch.site, hq.site));
  await meeting.mariadb.kill();
  await makeEvents(branch, 30);
  await regroupTarget(hq.site, 'till', 'cellar' as Name, 'operator:me');
  await meeting.mariadb.start();
  // As after a cluster that lost its last transactions, or a restored dump: marks and rows are those of before.
  await meeting.mariadb.sqlBeside(
    `use meet; delete from shared_events where origin = '${branch.site.self.id}' and seq > 5;
     update shared_marks set seq = 5 where origin = '${branch.site.self.id}' and stream = 'events';
     delete from shared_commands; delete from shared_done;`,
  );
  await eventually('all is there', () => eventsArrived(branch.site, hq.site));
  await eventually('the command too', async () => (await showTarget(branch.site, 'till')).group === 'cellar');
  const there = async () => {
    const shared = branch.site.shared;
    assert.ok(shared);
    const rows = await shared.read('test', (db) => db('shared_events').where({ origin: branch.site.self.id }).orderBy('seq').pluck('seq'));
    const own = await branch.site.db('events').where({ origin: branch.site.self.id }).orderBy('seq').pluck('seq');
    return JSON.stringify(rows) === JSON.stringify(own);
  };
  await eventually('the database has them all again', there);
  assert.equal(await getControlMark(branch.site.db, hq.site.self.id, 'applied'), 3);
});

test('who comes when old events are gone from the database begins behind them', async () => {
  await makeEvents(branch, 5);
  await eventually('all is told', () => eventsArrived(branch.site, hq.site));
  const last = Number((await branch.site.db('events').where({ origin: branch.site.self.id }).max({ seq: 'seq' }).first())?.['seq']);
  await meeting.mariadb.sqlBeside(`use meet; delete from shared_events where origin = '${branch.site.self.id}' and seq < ${last - 2}`);
  const late = await makeNode(root, 'late', undefined, { flags: { database: meeting.database } });
  try {
    const seqs = async () => late.site.db('events').where({ origin: branch.site.self.id }).orderBy('seq').pluck('seq');
    await eventually('the rest is there', async () => (await seqs()).length >= 3);
    assert.equal((await seqs()).map(Number)[0], last - 2);
  } finally {
    await late.close();
  }
});

test("a setting that another server made is said to be that server's, by name", async () => {
  await setPolicy(hq.site, 'branch', { key: 'approve', value: 'operator' }, 'operator:me');
  await eventually('it is taken', async () => (await listPolicies(branch.site))['approve']?.value === 'operator');
  assert.equal((await listPolicies(branch.site))['approve']?.from, 'hq');
  const refused = await runCli(['--data', branch.site.dataDir, 'server', 'set', 'branch', 'approve=auto']);
  assert.deepEqual([refused.code, /is set by server hq /.test(refused.stderr)], [77, true], refused.stderr);
  await setPolicy(hq.site, 'branch', { key: 'approve', value: null }, 'operator:me');
});
