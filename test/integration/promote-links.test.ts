import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Id } from '../../core/ids.ts';
import { listEvents } from '../../server/db/events.ts';
import { listLinks, updateLinkCaps } from '../../server/db/links.ts';
import { getObject } from '../../server/db/objects.ts';
import { listServers } from '../../server/db/servers.ts';
import { getDocument, setDocument } from '../../server/documents.ts';
import { deleteImage } from '../../server/images/delete.ts';
import { resolveImage } from '../../server/images/reference.ts';
import { adoptObjects } from '../../server/succession/adopt.ts';
import { readFence } from '../../server/succession/fence.ts';
import type { Promoted } from '../../server/succession/promotion.ts';
import { eventsArrived, eventually, makeNode, type Node, replicate } from '../helpers/control-sites.ts';
import { enrolAt, importDisk, makeDisk } from '../helpers/replication-sites.ts';
import { runJson } from '../helpers/run-cli.ts';
import { runWhileServing } from '../helpers/served-run.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

/** The same with links alone: a server is promoted where it runs, and the others join it. */

const root = await temporaryDirectory('promote-links');
let hq: Node;
let north: Node;
let south: Node;
/** Below north. */
let deep: Node;
let contents: Map<string, string>;

before(async () => {
  hq = await makeNode(root, 'hq');
  north = await makeNode(root, 'north', hq);
  south = await makeNode(root, 'south', hq);
  deep = await makeNode(root, 'deep', north);
  await importAt(hq, 'debian');
  await setParameter(hq, 'from hq');
  for (const node of [north, south, deep]) await replicate(node);
  contents = await contentsOf(hq);
});
after(async () => {
  for (const node of [deep, south, north, hq]) await node?.close();
});

const setParameter = ({ site }: Node, value: string) => setDocument(site, { type: 'parameter', name: 'mirror', actor: 'test' }, { value });
const valueAt = async ({ site }: Node) => ((await getDocument(site, 'parameter', 'mirror')).content as { value: string }).value;
const importAt = async (node: Node, name: string) => {
  await makeDisk(join(root, `${name}.raw`), 60_000);
  return importDisk(node.site, join(root, `${name}.raw`), name);
};
const contentsOf = async ({ site }: Node): Promise<Map<string, string>> => {
  const found = site.db('objects').leftJoin('images', 'images.id', 'objects.id').whereIn('objects.kind', ['image', 'document']);
  const rows = await found.select('objects.id', 'digest', 'manifest', 'state');
  return new Map(rows.map(({ id, digest, manifest, state }) => [id, `${digest} ${manifest} ${state}`]));
};
const parentsOf = async ({ site }: Node) =>
  (await listServers(site.db)).filter(({ relation }) => relation === 'parent').map(({ name }) => name);
const eventsAt = async ({ site }: Node, kind: string) =>
  (await listEvents(site.db, { origin: site.self.id, limit: 1000 })).filter((event) => event.kind === kind);
const joinAt = (child: Node, parent: Node) => enrolAt(parent.site, child.site, parent.serving?.httpsUrl ?? '');
const promote = (at: Node, server: string, ...flags: string[]) =>
  runJson<Promoted & { error: { message: string } }>(['--data', at.site.dataDir, 'server', 'promote', server, '--yes', ...flags]);

test('a relay that signs the objects of the master as its own is not believed, and that is told once', async () => {
  const [id] = contents.keys();
  const copies = await north.site.db('objects').select();
  const images = await north.site.db('images').select('id', 'origin');
  await adoptObjects(north.site, hq.site.self.id);
  await replicate(deep);
  await replicate(deep);
  assert.deepEqual(await contentsOf(deep), contents);
  assert.equal((await getObject(deep.site.db, id as Id))?.origin, hq.site.self.id);
  assert.equal((await eventsAt(deep, 'catalogue.doubted')).length, 1);
  // It is honest again.
  for (const { id: one, ...row } of copies) await north.site.db('objects').where({ id: one }).update(row);
  for (const { id: one, origin } of images) await north.site.db('images').where({ id: one }).update({ origin });
});

test('a server is promoted where it runs, when its master is lost', async () => {
  const elsewhere = await promote(north, 'south');
  assert.deepEqual([elsewhere.code, /it is promoted where it runs/.test(elsewhere.document.error.message)], [64, true]);
  assert.equal((await promote(hq, 'hq')).code, 65);
  await eventually('hq is heard', async () => (await promote(north, 'north', '--dry-run')).document.heardSecondsAgo !== null);
  const alive = await promote(north, 'north');
  assert.deepEqual([alive.code, /hq was heard/.test(alive.document.error.message)], [65, true]);
  const [link] = await listLinks(south.site.db);
  await updateLinkCaps(south.site.db, link?.id as Id, { bps: 5_000_000, office: null });
  await hq.close();
  const dry = await promote(north, 'north', '--dry-run');
  assert.deepEqual([dry.document.insteadOf, dry.document.adopted, dry.document.changed], ['hq', 2, false]);
  const done = await promote(north, 'north', '--even-if-alive');
  assert.deepEqual([done.code, done.document.changed, done.document.adopted, done.document.by], [0, true, 2, 'link']);
  assert.deepEqual(await parentsOf(north), []);
  assert.deepEqual(await contentsOf(north), contents);
  const again = await promote(north, 'north');
  assert.deepEqual([again.code, again.document.changed, again.document.adopted], [0, false, 0]);
});

test('who joins it leaves the lost parent, and has from then on what it changes', async () => {
  await joinAt(south, north);
  assert.deepEqual(await parentsOf(south), ['north']);
  const links = await listLinks(south.site.db);
  assert.deepEqual([links.length, links[0]?.caps.bps], [1, 5_000_000]);
  await setParameter(north, 'from north');
  const made = await importAt(north, 'fresh');
  await replicate(south);
  assert.equal(await valueAt(south), 'from north');
  assert.equal((await resolveImage(south.site.db, 'fresh')).manifest, made.manifest);
  await eventually('north has what happened there, once', () => eventsArrived(south.site, north.site));
  // A server below it knows of no promotion: it goes on with what it holds until its operator says so.
  await replicate(deep);
  assert.deepEqual([await valueAt(deep), (await resolveImage(deep.site.db, 'fresh')).state], ['from hq', 'published']);
  await joinAt(deep, north);
  await replicate(deep);
  assert.equal(await valueAt(deep), 'from north');
  const newcomer = await makeNode(root, 'newcomer', north);
  await replicate(newcomer);
  assert.equal(await valueAt(newcomer), 'from north');
  await newcomer.close();
});

test('the lost one comes back as a child of the new one: nothing that it made is pushed down or lost', async () => {
  await hq.reopen();
  await setParameter(hq, 'alone');
  const unseen = await importAt(hq, 'unseen');
  await hq.start();
  await joinAt(hq, north);
  assert.equal((await readFence(hq.site.db))?.phase, 'returning');
  assert.equal((await runWhileServing(hq.site)).state, 'done');
  assert.equal(await readFence(hq.site.db), undefined);
  assert.equal(await valueAt(hq), 'from north');
  assert.match(JSON.stringify((await eventsAt(hq, 'object.replaced'))[0]?.data), /alone/);
  assert.equal((await resolveImage(hq.site.db, 'unseen')).id, unseen.id);
  await replicate(south);
  assert.equal(await valueAt(south), 'from north');
  for (const [id, content] of contents) if (!content.includes('null')) assert.equal((await contentsOf(hq)).get(id), content);
  await deleteImage(north.site, 'debian', 'test');
  for (const node of [hq, south, deep]) await replicate(node);
  for (const node of [hq, south, deep])
    assert.equal((await node.site.db('images').where({ name: 'debian', state: 'published' })).length, 0, node.name);
});
