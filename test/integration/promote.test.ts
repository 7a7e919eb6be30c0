import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Id, type Name, parseMac } from '../../core/ids.ts';
import { haltOrder, placeOrder, regroupTarget } from '../../server/control/place.ts';
import { locateOrder, locateTarget, showTarget } from '../../server/control/things-below.ts';
import { listEvents } from '../../server/db/events.ts';
import { countOwnable, getObject } from '../../server/db/objects.ts';
import { listServers } from '../../server/db/servers.ts';
import { deleteDocument, getDocument, setDocument } from '../../server/documents.ts';
import { resolveImage } from '../../server/images/reference.ts';
import type { ServerView } from '../../server/panel/server-views.ts';
import { setParent } from '../../server/shared/parents.ts';
import type { Site } from '../../server/site.ts';
import { readFence } from '../../server/succession/fence.ts';
import { promoteServer } from '../../server/succession/promote.ts';
import type { Promoted } from '../../server/succession/promotion.ts';
import { addTarget } from '../../server/targets.ts';
import { issueEnrolToken } from '../../server/trust/enrol-token.ts';
import { eventsArrived, eventually, makeNode, type Node, replicate } from '../helpers/control-sites.ts';
import { type Meeting, startMeeting } from '../helpers/meeting.ts';
import { importDisk, makeDisk } from '../helpers/replication-sites.ts';
import { runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

/** The master of servers that meet in one database is lost, another takes its place, and then it returns. */

const root = await temporaryDirectory('promote');
let meeting: Meeting;
let hq: Node;
let north: Node;
let south: Node;
/** What there was before, by id: digest and, of images, manifest. */
let before_: Map<string, string>;
let orderId: string;
/** What a command printed. */
type Answer = Promoted & ServerView & { readonly items: readonly ServerView[] };

before(async () => {
  meeting = await startMeeting(root);
  const flags = { database: meeting.database };
  hq = await makeNode(root, 'hq', undefined, { flags });
  north = await makeNode(root, 'north', undefined, { flags });
  south = await makeNode(root, 'south', undefined, { flags });
});
after(async () => {
  for (const node of [south, north, hq]) await node?.close();
  await meeting?.mariadb.stop();
});

const parentsOf = async ({ site }: Node): Promise<string[]> =>
  (await listServers(site.db)).filter(({ relation }) => relation === 'parent').map(({ name }) => name);
const settles = (node: Node, parents: string[]) =>
  eventually(`the parent of ${node.name}`, async () => JSON.stringify(await parentsOf(node)) === JSON.stringify(parents));
const promote = (at: Node, server: string, more: object = {}) =>
  promoteServer(at.site, { server, evenIfAlive: false, isDryRun: false, actor: 'operator:me', ...more });
const setMenu = (site: Site, title: string) =>
  setDocument(site, { type: 'menu', name: 'rescue', actor: 'test' }, { title, boot: { kind: 'disk' } });
const titleAt = async ({ site }: Node) => ((await getDocument(site, 'menu', 'rescue')).content as { title: string }).title;
const importAt = async (node: Node, name: string) => {
  await makeDisk(join(root, `${name}.raw`), 60_000);
  return importDisk(node.site, join(root, `${name}.raw`), name);
};
const kindsAt = async ({ site }: Node, kind: string) => (await listEvents(site.db, { limit: 1000 })).filter((event) => event.kind === kind);
const contentsOf = async ({ site }: Node): Promise<Map<string, string>> => {
  const found = site.db('objects').leftJoin('images', 'images.id', 'objects.id').whereIn('objects.kind', ['image', 'document']);
  const rows = await found.select('objects.id', 'digest', 'manifest', 'state');
  return new Map(rows.map(({ id, digest, manifest, state }) => [id, `${digest} ${manifest} ${state}`]));
};
const originOf = async ({ site }: Node, id: string) => (await getObject(site.db, id as Id))?.origin;

const showOrder = async (site: Site) => {
  const located = await locateOrder(site, orderId);
  return located.where === 'below' ? located.below.view : undefined;
};

test('a server that is named while the master lives is not promoted, and a dry run shows what would change', async () => {
  for (const node of [north, south]) {
    await eventually('all know each other', async () => (await node.site.db('peers').count({ n: '*' }).first())?.['n'] === 2);
    await setParent(north.site, { server: node.name, parent: 'hq', actor: 'test' });
    await settles(node, ['hq']);
  }
  await importAt(hq, 'debian');
  await importAt(hq, 'gone');
  await setMenu(hq.site, 'Before');
  await setDocument(hq.site, { type: 'parameter', name: 'dropped', actor: 'test' }, { value: 'x' });
  await deleteDocument(hq.site, { type: 'parameter', name: 'dropped', actor: 'test' });
  for (const node of [north, south]) await replicate(node);
  await addTarget(south.site, { name: 'till' as Name, macs: [parseMac('525400000001')] }, 'test');
  await eventually('hq knows the machine', () => locateTarget(hq.site, 'till').catch(() => undefined));
  orderId = (await placeOrder(hq.site, { targetRef: 'till', imageRef: 'debian', actor: 'operator:me' })).id;
  await eventually('the order is at its server', async () => (await south.site.db('orders').where({ id: orderId }).first()) !== undefined);
  before_ = await contentsOf(hq);
  assert.equal(before_.size, 4);

  await assert.rejects(promote(south, 'north'), { code: 'wrong_state', message: /hq was heard \d+ s ago/ });
  const told = await promote(south, 'north', { isDryRun: true });
  assert.deepEqual([told.insteadOf, told.changed, told.dryRun, told.by], ['hq', false, true, 'database']);
  assert.deepEqual(
    told.moved.map(({ server, from, to }) => `${server}: ${from} -> ${to}`),
    ['north: hq -> null', 'south: hq -> north'],
  );
  assert.deepEqual(await parentsOf(south), ['hq']);
});

test('a promoted server has the children of the lost one, and owns what that one made: same ids, digests and manifests', async () => {
  await hq.close();
  await haltOrder(south.site, orderId, 'test');
  const done = await runJson<Answer>(['--data', south.site.dataDir, 'server', 'promote', 'north', '--even-if-alive', '--yes']);
  assert.deepEqual([done.code, done.document.server, done.document.insteadOf, done.document.changed], [0, 'north', 'hq', true]);
  await settles(north, []);
  await settles(south, ['north']);
  await eventually('north owns the images', async () => (await north.site.db('objects').where({ origin: hq.site.self.id })).length === 0);
  assert.deepEqual(await contentsOf(north), before_);
  const again = await runJson<Answer>(['--data', north.site.dataDir, 'server', 'promote', 'north', '--yes']);
  assert.deepEqual([again.code, again.document.changed, again.document.insteadOf], [0, false, 'hq']);

  await setMenu(north.site, 'After');
  const made = await importAt(north, 'fresh');
  await replicate(south);
  assert.equal((await resolveImage(south.site.db, 'fresh')).manifest, made.manifest);
  assert.equal(await titleAt(south), 'After');
  for (const [id, content] of before_) if (!content.includes('null')) assert.equal((await contentsOf(south)).get(id), content);
  const stateAt = async ({ site }: Node) => (await showOrder(site))?.state;
  await eventually('the result of an order of the lost one is known to the new one', async () => (await stateAt(north)) === 'stopped');
  await eventually('and all that happened, once', () => eventsArrived(south.site, north.site));
});

test('roles follow', async () => {
  const roles = async () => {
    const { document } = await runJson<Answer>(['--data', north.site.dataDir, 'server', 'list']);
    return document.items.map(({ name, role, state }) => `${name} ${role} ${state}`).sort();
  };
  await eventually('north is the master', async () => (await roles()).join() === 'hq alone fenced,north master active,south slave active');
  await assert.rejects(promote(south, 'hq'), { code: 'wrong_state', message: /hq is fenced/ });
});

test('the lost one returns: it boots its machines, and makes, tells and gives nothing', async () => {
  // What it made while it was alone and nobody knew: a new image, and another boot menu.
  await hq.reopen();
  await importAt(hq, 'unseen');
  await setMenu(hq.site, 'Alone');
  await regroupTarget(hq.site, 'till', 'foyer' as Name, 'test');
  await hq.start();
  const fence = await eventually('it sees its fence', () => readFence(hq.site.db));
  assert.deepEqual([fence.phase, fence.name], ['fenced', 'north']);
  const words = /is fenced: server north took its place at 20/;
  const value = { type: 'parameter', name: 'mirror', actor: 'test' };
  await assert.rejects(setDocument(hq.site, value, { value: 'x' }), { code: 'fenced', message: words });
  await assert.rejects(placeOrder(hq.site, { targetRef: 'till', imageRef: 'debian', actor: 'me' }), { code: 'fenced', message: words });
  await assert.rejects(issueEnrolToken(hq.site), { code: 'fenced' });
  await assert.rejects(setParent(hq.site, { server: 'south', parent: 'hq', actor: 'me' }), { code: 'fenced' });
  const self = async () => {
    const list = await runJson<Answer>(['--data', hq.site.dataDir, 'server', 'list']);
    return list.document.items.find(({ relation }) => relation === 'self');
  };
  assert.deepEqual([(await self())?.state, (await self())?.successor], ['fenced', 'north']);
  // Its children have left it: it sees that in their rows.
  await eventually("it is nobody's master", async () => (await self())?.role === 'alone');
  const elsewhere = await runJson<Answer>(['--data', south.site.dataDir, 'server', 'show', 'hq']);
  assert.deepEqual([elsewhere.document.state, elsewhere.document.successor], ['fenced', 'north']);
  const doctor = await runJson<Answer>(['--data', hq.site.dataDir, 'doctor']);
  assert.match(JSON.stringify(doctor.document), /fenced: server north took its place/);
  await assert.rejects(setParent(north.site, { server: 'hq', parent: null, actor: 'me' }), {
    code: 'wrong_state',
    message: /hq is fenced/,
  });
  const [back] = await eventually('what it had asked is taken back', async () => {
    const found = await kindsAt(hq, 'control.taken-back');
    return found.length > 0 && found;
  });
  assert.match(JSON.stringify(back?.data), /had not left this server/);
  assert.equal((await showTarget(south.site, 'till')).group, null);
  assert.equal(await titleAt(north), 'After');
  assert.equal((await north.site.db('images').where({ name: 'unseen' })).length, 0);
});

test('it comes back as a child: it takes what the new master has, keeps what only it had, and says what was replaced', async () => {
  await setParent(north.site, { server: 'hq', parent: 'north', actor: 'operator:me' });
  await settles(hq, ['north']);
  await replicate(hq);
  assert.equal(await readFence(hq.site.db), undefined);
  assert.equal(await titleAt(hq), 'After');
  const [replaced] = await kindsAt(hq, 'object.replaced');
  assert.match(JSON.stringify(replaced?.data), /"title":"Alone"/);
  for (const [id, content] of before_) if (!content.includes('null')) assert.equal((await contentsOf(hq)).get(id), content);
  for (const id of before_.keys()) assert.equal(await originOf(hq, id), north.site.self.id);
  const unseen = await resolveImage(hq.site.db, 'unseen');
  assert.deepEqual([unseen.state, unseen.origin], ['published', hq.site.self.id]);
  await eventually(
    'the others hear of it',
    async () => (await north.site.db('images').where({ id: unseen.id, state: 'known' })).length === 1,
  );
  await setMenu(north.site, 'Later');
  await replicate(hq);
  await replicate(south);
  assert.deepEqual([await titleAt(hq), await titleAt(south)], ['Later', 'Later']);
  await assert.rejects(setMenu(hq.site, 'Mine'), { code: 'not_permitted', message: /belongs to server north/ });
  assert.equal((await kindsAt(south, 'run.done')).filter(({ origin }) => origin === south.site.self.id).length >= 2, true);
});

test("the place goes back to where it was: a master that lives is fenced at once, and what it owned is the other one's again", async () => {
  await assert.rejects(promote(south, 'hq'), { code: 'wrong_state', message: /north was heard/ });
  const done = await promote(south, 'hq', { evenIfAlive: true });
  assert.deepEqual([done.insteadOf, done.changed], ['north', true]);
  await settles(hq, []);
  await settles(south, ['hq']);
  const fence = await eventually('north sees its fence', () => readFence(north.site.db));
  assert.deepEqual([fence.phase, fence.name], ['fenced', 'hq']);
  await eventually('hq owns it all', async () => (await countOwnable(hq.site.db, north.site.self.id)) === 0);
  await setMenu(hq.site, 'Back');
  await replicate(south);
  assert.equal(await titleAt(south), 'Back');
  await setParent(south.site, { server: 'north', parent: 'hq', actor: 'operator:me' });
  await settles(north, ['hq']);
  await replicate(north);
  assert.deepEqual([await titleAt(north), await readFence(north.site.db)], ['Back', undefined]);
  for (const [id, content] of before_) if (!content.includes('null')) assert.equal((await contentsOf(south)).get(id), content);
});
