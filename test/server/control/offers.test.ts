import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { newId } from '../../../core/ids.ts';
import { askBelow } from '../../../server/control/ask.ts';
import { approveOffer, refuseOffer, showOffers } from '../../../server/control/offers/decide.ts';
import { offerImage } from '../../../server/control/offers/make.ts';
import { findServerBelow } from '../../../server/control/servers-below.ts';
import { noteApproval } from '../../../server/db/approvals.ts';
import { listEvents } from '../../../server/db/events.ts';
import { getImage } from '../../../server/db/images.ts';
import { getObject } from '../../../server/db/objects.ts';
import { EMPTY_PLAN } from '../../../sync/replicate/plan.ts';
import { eventually, makeNode, type Node, replicate } from '../../helpers/control-sites.ts';
import { importDisk, makeDisk } from '../../helpers/replication-sites.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';

const root = await temporaryDirectory('offers');
let hq: Node;
let relay: Node;
let branch: Node;
let sister: Node;

before(async () => {
  hq = await makeNode(root, 'hq');
  relay = await makeNode(root, 'relay', hq);
  branch = await makeNode(root, 'branch', relay);
  sister = await makeNode(root, 'sister', hq);
});
after(async () => {
  for (const node of [branch, sister, relay, hq]) await node.close();
});

async function imageAt(node: Node, name: string, bytes = 300_000) {
  await makeDisk(join(root, `${name}.raw`), bytes);
  return importDisk(node.site, join(root, `${name}.raw`), name);
}

const shownAt = async (node: Node, id: string) => (await showOffers(node.site)).find((offer) => offer.id === id);
const isOffered = (id: string) => eventually('the offer is seen', () => shownAt(hq, id));
const becomes = (node: Node, id: string, state: string) =>
  eventually(`the offer is ${state} at ${node.name}`, async () => {
    const offer = await shownAt(node, id);
    return offer?.state === state && offer;
  });

test('an image of a branch behind a relay is offered, approved, fetched over connections that go up, and given to all', async () => {
  const image = await imageAt(branch, 'golden');
  const offered = await offerImage(branch.site, 'golden', 'test');
  assert.deepEqual([offered.id, offered.reference, offered.state], [image.id, 'golden@1', 'offered']);
  assert.equal((await isOffered(image.id)).server, 'branch');
  assert.equal(await getImage(hq.site.db, image.id), undefined);
  await approveOffer(hq.site, 'golden@1', 'operator:me');
  await becomes(hq, image.id, 'published');
  const copy = await getImage(hq.site.db, image.id);
  assert.deepEqual([copy?.state, copy?.origin, copy?.manifest], ['published', branch.site.self.id, image.manifest]);
  await becomes(branch, image.id, 'published');
  await replicate(sister);
  const exported = join(root, 'exported.raw');
  await sister.site.store.exportDisk(image.manifest, exported);
  assert.ok((await readFile(exported)).equals(await readFile(join(root, 'golden.raw'))));
  const kinds = (await listEvents(hq.site.db, { origin: hq.site.self.id, subject: image.id })).map(({ kind }) => kind);
  assert.deepEqual(
    kinds.filter((kind) => kind.startsWith('offer.')),
    ['offer.approved', 'offer.published'],
  );
  await replicate(relay);
  assert.equal((await getImage(relay.site.db, image.id))?.state, 'published');
  await assert.rejects(offerImage(sister.site, 'golden', 'test'), { code: 'not_permitted' });
  await assert.rejects(approveOffer(hq.site, 'golden@1', 'test'), { code: 'wrong_state' });
});

test('an offer that is turned down says so at its branch, and can be made again', async () => {
  const image = await imageAt(sister, 'rough');
  await offerImage(sister.site, 'rough', 'test');
  await isOffered(image.id);
  await refuseOffer(hq.site, image.id, 'not signed off', 'test');
  assert.equal((await becomes(sister, image.id, 'refused')).words, 'not signed off');
  assert.equal(await getImage(hq.site.db, image.id), undefined);
  assert.equal((await offerImage(sister.site, 'rough', 'test')).state, 'offered');
  await approveOffer(hq.site, image.id, 'test');
  await becomes(hq, image.id, 'published');
});

test('an image whose name is taken fails in words here and there', async () => {
  await imageAt(hq, 'common');
  const image = await imageAt(sister, 'common');
  await offerImage(sister.site, 'common', 'test');
  await isOffered(image.id);
  await approveOffer(hq.site, image.id, 'test');
  for (const node of [hq, sister]) assert.match((await becomes(node, image.id, 'failed')).words ?? '', /common@1 is here already/);
});

test('what was approved while its branch is away is fetched when it is back', async () => {
  const image = await imageAt(sister, 'late');
  await offerImage(sister.site, 'late', 'test');
  await isOffered(image.id);
  await sister.stop();
  await approveOffer(hq.site, image.id, 'test');
  assert.equal((await shownAt(hq, image.id))?.state, 'approved');
  await sister.start();
  await becomes(hq, image.id, 'published');
});

test('an offer whose link broke again and again is fetched in the end', async () => {
  const image = await imageAt(sister, 'patient');
  await offerImage(sister.site, 'patient', 'test');
  await isOffered(image.id);
  const object = (await getObject(sister.site.db, image.id)) ?? assert.fail();
  await sister.stop();
  await approveOffer(hq.site, image.id, 'test');
  // As five tries leave it that came as far as the archive.
  const tried = { ...EMPTY_PLAN, catalogue: { epoch: 0, generation: 0, objects: [object] }, want: [image.manifest], rounds: 5 };
  await noteApproval(hq.site.db, image.id, { plan: JSON.parse(JSON.stringify(tried)) });
  await sister.start();
  const ended = await eventually('the offer ends', async () => {
    const offer = await shownAt(hq, image.id);
    return offer !== undefined && offer.state !== 'approved' && offer;
  });
  assert.deepEqual([ended.state, ended.words], ['published', null]);
});

test('a server above gets the content of what is offered and of nothing else', async () => {
  const image = await imageAt(sister, 'private');
  const to = await findServerBelow(hq.site.db, 'sister');
  await assert.rejects(askBelow(hq.site, to, { kind: 'offer.object', query: { imageId: image.id } }), { code: 'not_found' });
  const query = { protocol: 1, have: [], want: [image.manifest] };
  await assert.rejects(askBelow(hq.site, to, { kind: 'offer.archive', query }), { code: 'not_permitted' });
  const tunnel = { archive: '0'.repeat(64), ticket: newId() };
  await assert.rejects(askBelow(hq.site, to, { kind: 'offer.tunnel', query: tunnel }), { code: 'not_found' });
});

test('without a parent there is nobody to offer an image to', async () => {
  await assert.rejects(offerImage(hq.site, 'common', 'test'), { code: 'wrong_state' });
  await assert.rejects(approveOffer(hq.site, 'nothing', 'test'), { code: 'not_found' });
});
