import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Digest, Name } from '../../core/ids.ts';
import { parseMac } from '../../core/ids.ts';
import { placeOrder, placeTarget, regroupTarget, setPolicy } from '../../server/control/place.ts';
import { listAllOrders, listAllTargets, locateOrder } from '../../server/control/things-below.ts';
import { listEvents } from '../../server/db/events.ts';
import { findImageVersion, listImages } from '../../server/db/images.ts';
import { deleteDocument, documentsInForce, setDocument } from '../../server/documents.ts';
import { callHome } from '../../server/orders/call-home.ts';
import { sayHello } from '../../server/orders/hello.ts';
import { instruct } from '../../server/orders/instruct.ts';
import { createOrder, getOrder } from '../../server/orders/orders.ts';
import { takeReport } from '../../server/orders/report.ts';
import type { Site } from '../../server/site.ts';
import { addTarget, createBoot, getTarget } from '../../server/targets.ts';
import { inventoryOf, MIB } from '../agent/fixtures.ts';
import { eventsArrived, eventually, makeNode, type Node, replicate, startNode } from '../helpers/control-sites.ts';
import { howMany } from '../helpers/how-many.ts';
import { importDisk, makeDisk } from '../helpers/replication-sites.ts';
import { runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

/**
 * Master lost, restored elsewhere, its branches carry on. Real servers, each with its own database, over real TLS; the backup is
 * taken and restored by the commands. Contents by reference and whole take turns.
 */
const DRILLS = howMany({ sample: 1, full: 10 });

type Sites = { readonly root: string; hq: Node; readonly berlin: Node; readonly rome: Node };

for (let drill = 1; drill <= DRILLS; drill += 1) {
  const content = drill % 2 === 1 ? 'reference' : 'whole';
  test(
    `drill ${drill} of ${DRILLS}: the master is lost and restored from a backup (content ${content}), its branches carry on`,
    {
      timeout: 240_000,
    },
    (t) => runDrill(t, content),
  );
}

async function runDrill(t: TestContext, content: 'reference' | 'whole'): Promise<void> {
  const sites = await setUp(t);
  const { root, berlin, rome } = sites;
  const file = join(root, 'hq.wsb');
  await rome.stop();
  // A command that waits when the backup is taken, is done afterwards, and must not be done again.
  await setPolicy(sites.hq.site, 'rome', { key: 'approve', value: 'operator' }, 'test');
  const taken = await runJson(['--data', join(root, 'hq'), 'server', 'backup', file, '--content', content]);
  assert.equal(taken.code, 0, JSON.stringify(taken.document));
  const before = await catalogueOf(sites.hq.site);
  await rome.start();

  const after = await liveOn(sites);
  const { lost, port } = await lose(sites, after);
  const restored = await runJson<{ epoch: number; held: number; notHeld: { reference: string }[]; serverId: string }>([
    ...['--data', join(root, 'elsewhere'), 'server', 'restore', file],
  ]);
  assert.equal(restored.code, 0, JSON.stringify(restored.document));
  assert.equal(restored.document.serverId, lost.serverId);
  const started = performance.now();
  sites.hq = await startNode(root, 'elsewhere', { flags: { httpsPort: port } });
  const { hq } = sites;
  // Before any child has said how far it is: these must not be taken for commands that it has done already.
  const groups = ['one', 'two', 'three', 'four', 'five'];
  for (const group of groups) await regroupTarget(hq.site, 'till', group as Name, 'test');

  // What the branches know arrives again, and once.
  for (const branch of [berlin, rome]) await eventually(`all of ${branch.name} is told`, () => eventsArrived(branch.site, hq.site));
  const toldMs = Math.round(performance.now() - started);
  for (const { id } of after.results) {
    await eventually('the result is there', async () => {
      const located = await locateOrder(hq.site, id);
      return located.where === 'below' && located.below.view.state === 'current';
    });
    const ends = (await listEvents(hq.site.db, { subject: id, limit: 1000 })).filter(({ kind }) => kind === 'order.current');
    assert.equal(ends.length, 1, 'each result once');
  }
  const machines = async () =>
    (await listAllTargets(hq.site, { limit: 1000 })).items.map(({ name, server }) => `${name} at ${server}`).sort();
  await eventually('all machines are there', async () => JSON.stringify(await machines()) === JSON.stringify(lost.machines));
  assert.equal((await listAllOrders(hq.site, {})).items.length, after.results.length);
  const kiosk = (await listAllTargets(hq.site, { limit: 1000 })).items.find(({ name }) => name === 'kiosk');
  assert.equal(kiosk?.inventory?.memoryBytes, 4096 * MIB, 'the newer inventory');

  // Commands: those of the new life are done once, those of the old one not again.
  await eventually('the last command is done', async () => (await getTarget(berlin.site, 'till')).group === 'five');
  assert.deepEqual(await dataOf(berlin.site, 'target.grouped', 'group'), ['before', ...groups]);
  assert.deepEqual(await dataOf(rome.site, 'setting.changed', 'value'), ['operator', 'auto']);

  // Nothing older is pushed down, nothing is deleted for being absent, and it is shown.
  assert.deepEqual(await catalogueOf(hq.site), before, 'same ids, same digests');
  for (const branch of [berlin, rome]) await replicate(branch);
  assert.deepEqual(await valuesAt(berlin.site), { changed: 'two', made: 'yes' });
  assert.deepEqual(
    (await listImages(berlin.site.db)).map(({ id, name, version, manifest }) => [id, `${name}@${version}`, manifest]).sort(),
    lost.imagesAtBerlin,
  );
  const [kept] = (await listEvents(hq.site.db, { origin: berlin.site.self.id, limit: 10_000 })).filter(
    ({ kind }) => kind === 'catalogue.kept',
  );
  const words = JSON.stringify(kept?.data ?? (await eventually('headquarters is told what is kept', () => keptAt(hq.site, berlin.site))));
  for (const named of ['image debian@2', 'document changed', 'document made', 'deletion of document'])
    assert.ok(words.includes(named), `${named} in ${words}`);

  // Content that was not in the backup comes back from who holds it; runs continue, and what the operator decides now counts.
  await eventually('all content is here', async () => (await findImageVersion(hq.site.db, 'debian', '1'))?.state === 'published');
  const { manifest } = (await findImageVersion(hq.site.db, 'debian', '1')) as { manifest: Digest };
  assert.deepEqual((await hq.site.store.verifyImage(manifest)).damages, []);
  assert.equal((await eventsOf(hq.site, 'image.fetched-back')).length, content === 'reference' ? 1 : 0);
  await setDocument(hq.site, { type: 'parameter', name: 'changed', actor: 'test' }, { value: 'three' });
  await deleteDocument(hq.site, { type: 'parameter', name: 'kept', actor: 'test' });
  await makeDisk(join(root, 'third.raw'), 200_000);
  const third = await importDisk(hq.site, join(root, 'third.raw'));
  assert.equal(third.version, '3', 'not the version that was given and lost');
  for (const branch of [berlin, rome]) {
    await replicate(branch);
    const found = await findImageVersion(branch.site.db, 'debian', '3');
    assert.deepEqual([found?.id, found?.manifest, found?.state], [third.id, third.manifest, 'published'], branch.name);
    assert.equal((await valuesAt(branch.site)).changed, 'three', branch.name);
    assert.equal((await valuesAt(branch.site)).kept, undefined, branch.name);
  }
  await eventually('all of it is told', () => eventsArrived(berlin.site, hq.site));
  t.diagnostic(
    `${content}: ${lost.events} events at the branches, all of them once at the restored master ${toldMs} ms after its start; ${after.results.length} results, ${lost.machines.length} machines, epoch ${restored.document.epoch}`,
  );
}

/** A master with an image, documents and a policy; two branches that have all of it, and machines. */
async function setUp(t: TestContext): Promise<Sites> {
  const root = await temporaryDirectory('drill');
  const hq = await makeNode(root, 'hq');
  const sites: Sites = { root, hq, berlin: await makeNode(root, 'berlin', hq), rome: await makeNode(root, 'rome', hq) };
  t.after(async () => {
    for (const node of [sites.berlin, sites.rome, sites.hq]) await node.close();
  });
  await makeDisk(join(root, 'first.raw'), 300_000);
  await importDisk(hq.site, join(root, 'first.raw'));
  await setDocument(hq.site, { type: 'parameter', name: 'changed', actor: 'test' }, { value: 'one' });
  await setDocument(hq.site, { type: 'parameter', name: 'kept', actor: 'test' }, { value: 'one' });
  await setDocument(hq.site, { type: 'parameter', name: 'gone', actor: 'test' }, { value: 'one' });
  for (const branch of [sites.berlin, sites.rome]) await replicate(branch);
  for (const [branch, name, n] of [
    [sites.berlin, 'till', 1],
    [sites.rome, 'kiosk', 2],
  ] as const)
    await addTarget(branch.site, { name: name as Name, macs: [parseMac(`5254000000${n.toString(16).padStart(2, '0')}`)] }, 'test');
  await eventually('the machines are known', async () => (await listAllTargets(hq.site, {})).items.length === 2);
  await regroupTarget(hq.site, 'till', 'before' as Name, 'test');
  await eventually('a command was done', async () => (await getTarget(sites.berlin.site, 'till')).group === 'before');
  for (const branch of [sites.berlin, sites.rome]) await eventually('all is told', () => eventsArrived(branch.site, hq.site));
  return sites;
}

type After = { readonly results: readonly { readonly id: string }[]; readonly own: { readonly id: string } };

/** Life after the backup: a new version, changed and deleted documents, orders with results, machines, commands that are done. */
async function liveOn({ root, hq, berlin, rome }: Sites): Promise<After> {
  await eventually('what waited is done', async () => (await dataOf(rome.site, 'setting.changed', 'value')).length === 1);
  await setPolicy(hq.site, 'rome', { key: 'approve', value: 'auto' }, 'test');
  await makeDisk(join(root, 'second.raw'), 250_000);
  await importDisk(hq.site, join(root, 'second.raw'));
  await setDocument(hq.site, { type: 'parameter', name: 'changed', actor: 'test' }, { value: 'two' });
  await setDocument(hq.site, { type: 'parameter', name: 'made', actor: 'test' }, { value: 'yes' });
  for (const name of ['gone', 'kept']) await deleteDocument(hq.site, { type: 'parameter', name, actor: 'test' });
  await replicate(berlin);
  await placeTarget(hq.site, { name: 'desk' as Name, macs: [parseMac('525400000009')] }, { server: 'berlin', actor: 'test' });
  const fromAbove = await placeOrder(hq.site, { targetRef: 'till', imageRef: 'debian@1', actor: 'test' });
  await eventually('the order is at the branch', () => getOrder(berlin.site, fromAbove.id).catch(() => undefined));
  await install(berlin.site, 'till', fromAbove.id, 'a1');
  // Made and begun before the loss, ended while there is no master.
  const own = await createOrder(rome.site, { targetRef: 'kiosk', imageRef: 'debian@1', actor: 'test' });
  for (const branch of [berlin, rome]) await eventually('all is told', () => eventsArrived(branch.site, hq.site));
  return { results: [fromAbove, own], own };
}

async function lose(sites: Sites, { own }: After) {
  const { hq, berlin, rome, root } = sites;
  await eventually('the machines are known', async () => (await listAllTargets(hq.site, {})).items.length === 3);
  const machines = (await listAllTargets(hq.site, { limit: 1000 })).items.map(({ name, server }) => `${name} at ${server}`).sort();
  const serverId = hq.site.self.id;
  const port = Number(new URL(hq.serving?.httpsUrl ?? '').port);
  await hq.close();
  await rm(join(root, 'hq'), { recursive: true });
  await install(rome.site, 'kiosk', own.id, 'b2');
  const events = (await listEvents(berlin.site.db, { origin: berlin.site.self.id, limit: 100_000 })).length;
  const more = (await listEvents(rome.site.db, { origin: rome.site.self.id, limit: 100_000 })).length;
  const imagesAtBerlin = (await listImages(berlin.site.db))
    .map(({ id, name, version, manifest }) => [id, `${name}@${version}`, manifest])
    .sort();
  return { lost: { machines, serverId, imagesAtBerlin, events: events + more }, port };
}

/** As the machine's agent would: hello, the task, read back, and the deployed system's call. */
async function install(site: Site, name: string, orderId: string, key: string): Promise<void> {
  const { id: targetId } = await getTarget(site, name);
  const keyId = `sha256:${key.repeat(32)}` as Digest;
  const bootId = await createBoot(site, targetId, 'engine');
  const inventory = inventoryOf({ sizeBytes: 99 * MIB }, { memoryBytes: 4096 * MIB });
  await sayHello(site, keyId, { protocol: 1, bootId, agentVersion: 'test', inventory });
  const agent = { targetId, keyId };
  await instruct(site, agent, AbortSignal.timeout(10_000));
  await takeReport(site, agent, { orderId, event: 'verified' });
  await callHome(site, { orderId, nonce: (await getOrder(site, orderId)).nonce, from: '192.0.2.1' });
}

/** Everything that children are told, by id, with its digest. */
async function catalogueOf(site: Site): Promise<readonly string[]> {
  const rows = await site.db('objects').orderBy('id').select('id', 'origin', 'revision', 'digest', 'signature');
  return rows.map((row) => JSON.stringify(row));
}

async function valuesAt(site: Site): Promise<Record<string, string>> {
  return Object.fromEntries((await documentsInForce(site)).map(({ name, content }) => [name, 'value' in content ? content.value : '']));
}

async function eventsOf(site: Site, kind: string) {
  return (await listEvents(site.db, { origin: site.self.id, limit: 100_000 })).filter((event) => event.kind === kind);
}

async function dataOf(site: Site, kind: string, member: string): Promise<unknown[]> {
  return (await eventsOf(site, kind)).map(({ data }) => data[member]).filter((value) => value !== null);
}

async function keptAt(hq: Site, branch: Site) {
  const events = await listEvents(hq.db, { origin: branch.self.id, limit: 100_000 });
  return events.find(({ kind }) => kind === 'catalogue.kept')?.data;
}
