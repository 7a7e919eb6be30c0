import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Envelope } from '../../core/envelope.ts';
import { listImages } from '../../server/db/images.ts';
import { listLinks } from '../../server/db/links.ts';
import { getObject } from '../../server/db/objects.ts';
import type { Run } from '../../server/db/runs.ts';
import { deleteImage } from '../../server/images/delete.ts';
import { resolveImage } from '../../server/images/reference.ts';
import { estimateBytes } from '../../server/replication/lacking.ts';
import { runOnce } from '../../server/replication.ts';
import type { Site } from '../../server/site.ts';
import { importDisk, makeDisk, makePair } from '../helpers/replication-sites.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

const root = await temporaryDirectory('replication');
let pair: Awaited<ReturnType<typeof makePair>>;
before(async () => {
  pair = await makePair(root);
});
after(() => pair.close());

const run = (site: Site): Promise<Run> => runOnce(site, { trigger: 'command' });
const MB = 1_000_000;
let disk: Buffer;
let first: Run;

async function exported(site: Site, manifest: Parameters<Site['store']['exportDisk']>[0]): Promise<Buffer> {
  const path = join(root, `export-${manifest.slice(7, 15)}.raw`);
  await site.store.exportDisk(manifest, path);
  return readFile(path);
}

test('an image made at the master is published at the branch, bit for bit, and rsync carried it', async () => {
  disk = await makeDisk(join(root, 'disk.raw'), 12 * MB);
  const image = await importDisk(pair.hq, join(root, 'disk.raw'));
  first = await run(pair.branch);
  assert.equal(first.error, null);
  assert.equal(first.state, 'done');
  const [copy] = await listImages(pair.branch.db);
  assert.deepEqual([copy?.name, copy?.version, copy?.state, copy?.manifest], ['debian', '1', 'published', image.manifest]);
  assert.ok(disk.equals(await exported(pair.branch, image.manifest)));
  assert.ok(first.bytesRsync >= first.bytesNeeded, `${first.bytesRsync} by rsync of ${first.bytesNeeded} needed`);
  assert.ok(first.bytesRsync >= 0.95 * first.bytesReceived, `${first.bytesRsync} by rsync of ${first.bytesReceived} received`);
  assert.ok(first.bytesReceived < 13 * MB);
});

test('a run with nothing new asks once and moves no payload', async () => {
  const nothing = await run(pair.branch);
  assert.equal(nothing.state, 'done');
  assert.equal(nothing.requests, 1);
  assert.equal(nothing.bytesRsync, 0);
  assert.ok(nothing.bytesReceived + nothing.bytesSent < 16_384, `${nothing.bytesReceived} + ${nothing.bytesSent} bytes`);
});

test('a second version costs its new chunks only, and the first stays', async () => {
  disk.fill(7, 4 * MB, 4 * MB + 300_000);
  disk.write('another boot loader', 0);
  await writeFile(join(root, 'disk.raw'), disk);
  const image = await importDisk(pair.hq, join(root, 'disk.raw'));
  const second = await run(pair.branch);
  assert.equal(second.state, 'done');
  assert.ok(second.bytesReceived < 1.5 * MB, `${second.bytesReceived} bytes for 0.3 MB of change`);
  assert.ok(disk.equals(await exported(pair.branch, image.manifest)));
  const versions = (await listImages(pair.branch.db)).map((copy) => copy.version);
  assert.deepEqual(versions.sort(), ['1', '2']);
  assert.deepEqual((await pair.branch.store.check()).damages, []);
});

test('a deletion travels as a tombstone', async () => {
  await deleteImage(pair.hq, 'debian@1', 'test');
  const run3 = await run(pair.branch);
  assert.equal(run3.state, 'done');
  assert.equal(run3.bytesRsync, 0);
  assert.deepEqual(
    (await listImages(pair.branch.db)).map((copy) => copy.version),
    ['2'],
  );
});

test('a name that a local image has is not overwritten: the newcomer is kept incoming', async () => {
  await makeDisk(join(root, 'local.raw'), MB);
  const local = await importDisk(pair.branch, join(root, 'local.raw'), 'tools');
  await makeDisk(join(root, 'foreign.raw'), MB);
  const foreign = await importDisk(pair.hq, join(root, 'foreign.raw'), 'tools');
  assert.equal((await run(pair.branch)).state, 'done');
  const copies = (await listImages(pair.branch.db)).filter((copy) => copy.name === 'tools');
  assert.deepEqual(
    new Map(copies.map((copy) => [copy.id, copy.state])),
    new Map([
      [local.id, 'published'],
      [foreign.id, 'incoming'],
    ]),
  );
  const [held] = copies.filter(({ id }) => id === foreign.id);
  assert.match(
    held?.error?.message ?? '',
    /^tools@1 of server hq \(.*\) is kept aside: .* \("image delete tools@1" here frees the name\)$/,
  );
});

test('once the local image is deleted, the one that waited for its name is shown with the next run', async () => {
  await deleteImage(pair.branch, 'tools@1', 'test');
  await assert.rejects(resolveImage(pair.branch.db, 'tools@1'), { code: 'not_found' });
  const next = await run(pair.branch);
  assert.deepEqual([next.state, next.bytesRsync], ['done', 0]);
  const { origin, version, error } = await resolveImage(pair.branch.db, 'tools');
  assert.deepEqual([origin, version, error], [pair.hq.self.id, '1', null]);
});

test('two images of one run are told with what each of them stores, not with half of both', async () => {
  await makeDisk(join(root, 'small.raw'), MB);
  await makeDisk(join(root, 'large.raw'), 5 * MB);
  const [small, large] = [
    await importDisk(pair.hq, join(root, 'small.raw'), 'small'),
    await importDisk(pair.hq, join(root, 'large.raw'), 'large'),
  ];
  const objects = (await Promise.all([small, large].map(({ id }) => getObject(pair.hq.db, id)))) as Envelope[];
  assert.equal(
    await estimateBytes(pair.branch.db, [small.manifest], objects),
    Math.round(0.35 * small.usedBytes),
    'none of its name is held',
  );
  assert.equal((await run(pair.branch)).state, 'done');
  const twice = Math.round(0.1 * (small.usedBytes + large.usedBytes));
  assert.equal(await estimateBytes(pair.branch.db, [small.manifest, large.manifest], objects), twice);
  const copies = await listImages(pair.branch.db);
  for (const made of [small, large]) {
    const stored = copies.find(({ id }) => id === made.id)?.storedBytes ?? 0;
    assert.ok(Math.abs(stored - made.storedBytes) < 0.1 * made.storedBytes, `${made.name}: ${stored} of ${made.storedBytes}`);
  }
});

test('the branch holds the generation it published', async () => {
  const [link] = await listLinks(pair.branch.db);
  assert.equal(link?.heldGeneration, 6);
});
