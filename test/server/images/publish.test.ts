import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Imported } from '../../../core/content-store.ts';
import { newId, parseName } from '../../../core/ids.ts';
import { listEvents } from '../../../server/db/events.ts';
import { listImages, listKeptManifests } from '../../../server/db/images.ts';
import { getCatalogueNumbers, getObject } from '../../../server/db/objects.ts';
import { deleteImage } from '../../../server/images/delete.ts';
import { publishImage } from '../../../server/images/publish.ts';
import { resolveImage } from '../../../server/images/reference.ts';
import type { Site } from '../../../server/site.ts';
import { verifyEnvelope } from '../../../server/trust/signatures.ts';
import { hashOf } from '../../helpers/digests.ts';
import { openTestSite } from '../api/site.ts';

const imported = (text: string): Imported => ({
  manifest: hashOf(text),
  kind: 'disk',
  sizeBytes: 1_048_576,
  usedBytes: 4096,
  storedBytes: 1000,
  disk: { sizeBytes: 1_048_576, sectorSize: 512, partitionTable: { scheme: 'none', partitions: [] }, bootType: 'none' },
});

let clock = 1_700_000_000_000;
let opened: Awaited<ReturnType<typeof openTestSite>>;
let site: Site;
before(async () => {
  opened = await openTestSite('hq', () => ++clock);
  site = opened.site;
});
after(() => opened.close());

const publish = (name: string, text: string, version?: string) =>
  publishImage(site, { imported: imported(text), name: parseName(name), version, arch: 'amd64', actor: 'local-admin' });

test('a published image is a signed object of ours, a row, and an event', async () => {
  const before = await getCatalogueNumbers(site.db);
  const image = await publish('signed', 'one');
  assert.deepEqual([image.version, image.state, image.origin, image.storedBytes], ['1', 'published', site.self.id, 1000]);
  const envelope = await getObject(site.db, image.id);
  assert.ok(envelope);
  assert.equal((envelope.body as { manifest: string }).manifest, image.manifest);
  verifyEnvelope(envelope, site.keys.signer);
  assert.equal((await getCatalogueNumbers(site.db)).generation, before.generation + 1);
  const [event] = await listEvents(site.db, { subject: image.id });
  assert.deepEqual([event?.kind, event?.actor, event?.data['reference']], ['image.published', 'local-admin', 'signed@1']);
});

test('without a version the next number is given, also beside free text, and the newest is what the name means', async () => {
  await publish('counted', 'a');
  await publish('counted', 'b', 'gold');
  const third = await publish('counted', 'c');
  assert.equal(third.version, '2');
  assert.equal((await resolveImage(site.db, 'counted')).id, third.id);
  assert.equal((await resolveImage(site.db, 'counted@gold')).version, 'gold');
  const newest = await publish('counted', 'd', '1.5');
  assert.equal((await resolveImage(site.db, 'counted')).id, newest.id, 'creation counts, not the text');
});

test('a version is given once, and a refused publication leaves nothing', async () => {
  await publish('taken', 'a', '1');
  const before = await getCatalogueNumbers(site.db);
  await assert.rejects(publish('taken', 'b', '1'), { code: 'name_taken', message: /taken@1/ });
  assert.deepEqual(await getCatalogueNumbers(site.db), before);
  assert.equal((await listImages(site.db)).filter(({ name }) => name === 'taken').length, 1);
});

test('publications at the same time get different numbers', async () => {
  const images = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((text) => publish('crowd', text)));
  assert.deepEqual(images.map(({ version }) => version).sort(), ['1', '2', '3', '4', '5']);
});

test('an image that is kept aside, since its name was taken, cannot be ordered', async () => {
  const image = await publish('aside', 'a');
  await site.db('images').where({ id: image.id }).update({ state: 'incoming' });
  await assert.rejects(resolveImage(site.db, 'aside@1'), { code: 'not_found', message: /aside@1 is kept aside/ });
  await assert.rejects(resolveImage(site.db, 'aside'), { code: 'not_found' });
  await assert.rejects(resolveImage(site.db, 'nobody'), { code: 'not_found' });
});

test('deleting puts a tombstone in the place of the object and frees the content for gc, not the version', async () => {
  const image = await publish('gone', 'gone');
  assert.ok((await listKeptManifests(site.db)).includes(image.manifest));
  assert.equal((await deleteImage(site, 'gone', 'local-admin')).state, 'deleted');
  const tombstone = await getObject(site.db, image.id);
  assert.deepEqual([tombstone?.body, tombstone?.revision], [null, 2]);
  assert.ok(!(await listKeptManifests(site.db)).includes(image.manifest));
  await assert.rejects(deleteImage(site, 'gone', 'local-admin'), { code: 'not_found' });
  await assert.rejects(publish('gone', 'gone', '1'), { code: 'name_taken' });
  assert.equal((await publish('gone', 'gone')).version, '2');
  const kinds = (await listEvents(site.db, { subject: image.id })).map(({ kind }) => kind);
  assert.deepEqual(kinds, ['image.published', 'image.deleted']);
});

test("another server's image is deleted where it was made", async () => {
  const image = await publish('foreign', 'a');
  const owner = newId();
  await site.db('images').where({ id: image.id }).update({ origin: owner });
  await assert.rejects(deleteImage(site, 'foreign', 'local-admin'), { code: 'not_permitted', message: new RegExp(owner) });
});

test('an image that an active order needs stays, and so does its content', async () => {
  const image = await publish('needed', 'needed');
  const order = { id: newId(), target: newId() };
  await site.db('orders').insert({
    ...{ id: order.id, job_id: newId(), target_id: order.target, image_id: image.id, image_reference: 'needed@1' },
    ...{ manifest: image.manifest, state: 'pending', revision: 1, origin: site.self.id, nonce: 'n', created_at: 1, updated_at: 1 },
  });
  await site.db('active_orders').insert({ target_id: order.target, order_id: order.id });
  await assert.rejects(deleteImage(site, 'needed', 'local-admin'), { code: 'busy', message: new RegExp(order.id) });
  await site.db('active_orders').where({ order_id: order.id }).delete();
  await deleteImage(site, 'needed', 'local-admin');
});

test('a copy that had to take another version goes by that one', async () => {
  const image = await publish('renamed', 'a');
  await site.db('images').where({ id: image.id }).update({ version: '1-from-branch' });
  assert.equal((await resolveImage(site.db, 'renamed@1-from-branch')).version, '1-from-branch');
});
