import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { newId } from '../../core/ids.ts';
import type { Image } from '../../core/image.ts';
import type { Scope } from '../../core/scope.ts';
import { listEvents } from '../../server/db/events.ts';
import { getImage, listImages, listKeptManifests } from '../../server/db/images.ts';
import { getCatalogueNumbers } from '../../server/db/objects.ts';
import type { Run } from '../../server/db/runs.ts';
import { activateDue } from '../../server/holdings/activation.ts';
import { checkAlarms } from '../../server/holdings/alarms.ts';
import { activateImage, pinImage, rollbackImage, unpinImage } from '../../server/holdings/choices.ts';
import { listHoldings } from '../../server/holdings/list.ts';
import { setScope } from '../../server/holdings/scope.ts';
import { verifyImage } from '../../server/images/content.ts';
import { deleteImage } from '../../server/images/delete.ts';
import { type ImportRequest, importImage, readTime } from '../../server/images/import.ts';
import { resolveImage, resolveVisibleImage } from '../../server/images/reference.ts';
import { releaseImage } from '../../server/images/release.ts';
import { onlyLink, runOnce } from '../../server/replication.ts';
import { setSchedule } from '../../server/schedule.ts';
import type { Site } from '../../server/site.ts';
import { makeDisk, makePair, reopenSite } from '../helpers/replication-sites.ts';
import { runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

const root = await temporaryDirectory('holdings');
let pair: Awaited<ReturnType<typeof makePair>>;
let made = 0;
before(async () => {
  pair = await makePair(root);
});
after(async () => {
  await pair.branch.close();
  await pair.serving.close();
  await pair.hq.close();
});

const actor = 'test';
const run = (): Promise<Run> => runOnce(pair.branch, { trigger: 'command' });
const scopeTo = async (scope: Scope) => setScope(pair.branch, { link: await onlyLink(pair.branch), scope, actor });
const at = (image: Image) => getImage(pair.branch.db, image.id);
const defaultOf = async (name: string) => (await resolveImage(pair.branch.db, name)).version;

/** A new version at the master, of random data. */
async function publish(name: string, options: Partial<ImportRequest> & { bytes?: number } = {}): Promise<Image> {
  const path = join(root, `disk-${++made}.raw`);
  const { bytes = 200_000, ...rest } = options;
  await makeDisk(path, bytes);
  return importImage(pair.hq, { path, name, actor, ...rest });
}

test('what is out of scope is known, costs no payload, and is offered to nobody', async () => {
  await scopeTo({ groups: ['office'] });
  const [desk, lab] = [await publish('desk', { group: 'office' }), await publish('lab', { group: 'lab' })];
  const first = await run();
  assert.deepEqual([first.state, (await at(desk))?.state, (await at(lab))?.state], ['done', 'published', 'known']);
  assert.ok(first.bytesRsync < 1.5 * 200_000, `${first.bytesRsync} by rsync`);
  await assert.rejects(resolveImage(pair.branch.db, 'lab'), { code: 'not_found' });
  await assert.rejects(resolveImage(pair.branch.db, 'lab@1'), { code: 'not_found', message: /known here/ });
  assert.ok(!(await listKeptManifests(pair.branch.db)).includes(lab.manifest));
  assert.equal((await run()).requests, 1);
});

test('a wider scope fetches at the next run although the parent has nothing new, and tells the children of this site', async () => {
  const before = await getCatalogueNumbers(pair.branch.db);
  const { fetched } = await scopeTo({});
  assert.deepEqual(
    fetched.map(({ name }) => name),
    ['lab'],
  );
  const wider = await run();
  assert.deepEqual([wider.state, wider.generation], ['done', 2]);
  assert.equal(await defaultOf('lab'), '1');
  assert.equal((await getCatalogueNumbers(pair.branch.db)).generation, before.generation + 1);
  assert.equal((await run()).requests, 1);
});

test('a narrower scope gives content up, but not what is pinned and not the version before the active one', async () => {
  const small = await publish('kiosk');
  const large = await publish('kiosk', { bytes: 900_000 });
  const pinned = await publish('press', { bytes: 900_000 });
  const other = await publish('poster', { bytes: 900_000 });
  await run();
  await pinImage(pair.branch, 'press@1', actor);
  const { released } = await scopeTo({ maxSizeBytes: 500_000 });
  assert.deepEqual(
    released.map(({ name }) => name),
    ['poster'],
  );
  assert.deepEqual(await Promise.all([small, large, pinned, other].map(async (image) => (await at(image))?.state)), [
    ...['published', 'published', 'published', 'known'],
  ]);
  const kept = await listKeptManifests(pair.branch.db);
  assert.deepEqual([kept.includes(pinned.manifest), kept.includes(other.manifest)], [true, false]);
});

test('a pin fetches what the scope leaves out', async () => {
  await pinImage(pair.branch, 'poster@1', actor);
  assert.equal((await run()).state, 'done');
  assert.equal(await defaultOf('poster'), '1');
  await scopeTo({});
});

const BYTES = 1_000_000;

/** A version of random content, or one that differs from `before` in a few octets. */
async function publishAfter(name: string, before?: Buffer): Promise<Buffer> {
  const path = join(root, `disk-${++made}.raw`);
  const disk = await makeDisk(path, BYTES);
  if (before !== undefined) {
    before.copy(disk);
    for (let at = BYTES; at < disk.length; at += 200_000) disk[at] = ((disk[at] ?? 0) + 1) % 256;
    await writeFile(path, disk);
  }
  await importImage(pair.hq, { path, name, actor });
  return disk;
}

test('content that the scope gave up and nobody has collected yet is what the next version builds on', async () => {
  const first = await publishAfter('stand');
  await run();
  await scopeTo({ names: ['nothing'] });
  await publishAfter('stand', first);
  assert.equal((await run()).bytesRsync, 0);
  await scopeTo({});
  const wider = await run();
  assert.deepEqual([wider.state, await defaultOf('stand')], ['done', '2']);
  assert.ok(wider.bytesRsync < BYTES / 20, `${wider.bytesRsync} by rsync`);
});

test('a version builds on one that its origin has deleted, and no collection during the run takes that', async () => {
  const first = await publishAfter('booth');
  await run();
  await deleteImage(pair.hq, 'booth@1', actor);
  await run();
  await publishAfter('booth', first);
  const { store } = pair.branch;
  const collect = async () => store.gc({ roots: await listKeptManifests(pair.branch.db), graceMs: 0, dryRun: false });
  const collecting: typeof store = {
    ...store,
    async missingOf(...question) {
      const answer = await store.missingOf(...question);
      await collect();
      return answer;
    },
    async unpackGrowing(...part) {
      await collect();
      return store.unpackGrowing(...part);
    },
  };
  const next = await runOnce({ ...pair.branch, store: collecting }, { trigger: 'command' });
  assert.deepEqual([next.state, await defaultOf('booth')], ['done', '2']);
  assert.ok(next.bytesRsync < BYTES / 20, `${next.bytesRsync} by rsync`);
});

test('a rollback holds until the next version is activated, and an unpin takes it back', async () => {
  await publish('till');
  await publish('till');
  await run();
  assert.equal((await rollbackImage(pair.branch, 'till', actor)).version, '1');
  assert.equal(await defaultOf('till'), '1');
  await assert.rejects(rollbackImage(pair.branch, 'till', actor), { code: 'not_found' });
  assert.equal((await unpinImage(pair.branch, 'till', actor))?.version, '2');
  await rollbackImage(pair.branch, 'till', actor);
  await publish('till');
  await run();
  assert.equal(await defaultOf('till'), '3');
});

test('a pin holds while newer versions arrive, and refuses rollback and activation in words', async () => {
  await pinImage(pair.branch, 'till@2', actor);
  await publish('till');
  await run();
  assert.equal(await defaultOf('till'), '2');
  await assert.rejects(rollbackImage(pair.branch, 'till', actor), { code: 'wrong_state', message: /pinned/ });
  await assert.rejects(activateImage(pair.branch, 'till@4', { actor }), { code: 'wrong_state', message: /pinned/ });
  await assert.rejects(pinImage(pair.branch, 'till', actor), { code: 'usage' });
  await unpinImage(pair.branch, 'till', actor);
  assert.equal(await defaultOf('till'), '4');
});

test('a tombstone hides a pinned image and leaves its content until the pin ends', async () => {
  const image = await publish('sign');
  await run();
  await pinImage(pair.branch, 'sign@1', actor);
  await deleteImage(pair.hq, 'sign@1', actor);
  await run();
  await assert.rejects(resolveImage(pair.branch.db, 'sign'), {
    code: 'not_found',
    message: /pinned to a version that its owner has deleted/,
  });
  assert.ok((await listKeptManifests(pair.branch.db)).includes(image.manifest));
  await pair.branch.store.gc({ roots: await listKeptManifests(pair.branch.db), graceMs: 0, dryRun: false });
  assert.deepEqual((await pair.branch.store.verifyImage(image.manifest)).damages, []);
  await unpinImage(pair.branch, 'sign', actor);
  assert.ok(!(await listKeptManifests(pair.branch.db)).includes(image.manifest));
});

test('a tombstone hides an image that an active order deploys here, and its content stays until the order ends', async () => {
  const image = await publish('fleet');
  await run();
  const order = { id: newId(), target: newId() };
  await pair.branch.db('orders').insert({
    ...{ id: order.id, job_id: newId(), target_id: order.target, image_id: image.id, image_reference: 'fleet@1' },
    ...{
      manifest: image.manifest,
      state: 'installing',
      revision: 1,
      origin: pair.branch.self.id,
      nonce: 'n',
      created_at: 1,
      updated_at: 1,
    },
  });
  await pair.branch.db('active_orders').insert({ target_id: order.target, order_id: order.id });
  await deleteImage(pair.hq, 'fleet@1', actor);
  await run();
  await assert.rejects(resolveVisibleImage(pair.branch.db, 'fleet'), { code: 'not_found' });
  await pair.branch.store.gc({ roots: await listKeptManifests(pair.branch.db), graceMs: 0, dryRun: false });
  assert.deepEqual((await pair.branch.store.verifyImage(image.manifest)).damages, []);
  await pair.branch.db('active_orders').where({ order_id: order.id }).delete();
  assert.ok(!(await listKeptManifests(pair.branch.db)).includes(image.manifest));
});

test('a pin and a rollback are there after a restart', async () => {
  await publish('desk');
  await run();
  await rollbackImage(pair.branch, 'desk', actor);
  await pair.branch.close();
  pair = { ...pair, branch: await reopenSite(root, 'branch') };
  assert.deepEqual([await defaultOf('desk'), await defaultOf('press')], ['1', '1']);
  await unpinImage(pair.branch, 'desk', actor);
  assert.equal(await defaultOf('desk'), '2');
});

test('a version with a time is held and verified before it, becomes the default at it, once, also after the server was down', async () => {
  await publish('fair');
  const opens = Date.now() + 3_600_000;
  const next = await publish('fair', { activateAt: new Date(opens).toISOString() });
  await run();
  for (const site of [pair.hq, pair.branch]) {
    assert.equal((await resolveImage(site.db, 'fair')).version, '1');
    await assert.rejects(resolveVisibleImage(site.db, 'fair@2'), { code: 'waiting' });
    assert.equal(await activateDue(site), opens);
    const later = { ...site, now: () => opens + 86_400_000 };
    assert.equal(await activateDue(later), null);
    await activateDue(later);
    assert.equal((await resolveVisibleImage(site.db, 'fair')).version, '2');
    const told = (await listEvents(site.db, { subject: next.id, limit: 1000 })).filter(({ kind }) => kind === 'image.activated');
    assert.equal(told.length, 1);
  }
});

test('a time without a zone is one on the clock of the site: of its link, and of a server without a parent that of its maintenance', async () => {
  const { hq, branch } = pair;
  const berlin = { ...hq, config: { ...hq.config, maintenanceTimezone: 'Europe/Berlin' } };
  assert.equal(await readTime(berlin, '2099-12-01T05:00'), Date.parse('2099-12-01T04:00Z'));
  assert.equal(await readTime(hq, '2099-12-01T05:00'), Date.parse('2099-12-01T05:00Z'));
  await setSchedule(branch, await onlyLink(branch), { timezone: 'America/New_York' });
  assert.equal(await readTime(branch, '2099-12-01T05:00'), Date.parse('2099-12-01T10:00Z'));
  assert.equal(await readTime(branch, '2099-12-01T05:00+01:00'), Date.parse('2099-12-01T04:00Z'));
});

test('a version is shown ring by ring: its content is at every site before, its sight waits for the release', async () => {
  await publish('game');
  const next = await publish('game', { ring: 0 });
  await run();
  assert.deepEqual([(await at(next))?.state, (await at(next))?.waiting, await defaultOf('game')], ['published', true, '1']);
  assert.equal((await resolveImage(pair.hq.db, 'game')).version, '2', 'its origin is in no ring');
  await releaseImage(pair.hq, 'game@2', { ring: 5, actor });
  await run();
  assert.equal(await defaultOf('game'), '1');
  await releaseImage(pair.hq, 'game@2', { ring: null, actor });
  const last = await run();
  assert.deepEqual([last.bytesRsync, await defaultOf('game')], [0, '2']);
  await assert.rejects(releaseImage(pair.branch, 'game@2', { ring: 1, actor }), { code: 'not_permitted', message: /belongs to server hq/ });
});

test('an older version is activated by hand, at once or later, and what arrives after it is the default again', async () => {
  await activateImage(pair.branch, 'till@1', { actor });
  assert.equal(await defaultOf('till'), '1');
  const later = Date.now() + 60_000;
  await activateImage(pair.branch, 'till@3', { at: later, actor });
  await activateDue(pair.branch);
  assert.equal(await defaultOf('till'), '1');
  await activateDue({ ...pair.branch, now: () => later });
  assert.equal(await defaultOf('till'), '3');
  await publish('till');
  await run();
  assert.equal(await defaultOf('till'), '5');
});

test('an image whose content the parent does not hold stays known, with words, and comes when the parent has it', async () => {
  const image = await publish('rare');
  await pair.hq.db('images').where({ id: image.id }).update({ state: 'known' });
  assert.equal((await run()).state, 'done');
  const copy = (await listImages(pair.branch.db)).find(({ id }) => id === image.id);
  assert.deepEqual([copy?.state, copy?.error?.code], ['known', 'not_found']);
  await pair.hq.db('images').where({ id: image.id }).update({ state: 'published' });
  assert.equal((await run()).state, 'done');
  assert.deepEqual([await defaultOf('rare'), (await at(image))?.error], ['1', null]);
});

test('of each image is told what is wanted, held and missing, and why', async () => {
  await scopeTo({ names: ['till', 'rare', 'sought'] });
  await publish('sought');
  const flaw = Object.assign(new Error('on purpose'), { code: 'failed' });
  const broken = {
    ...pair.branch,
    store: { ...pair.branch.store, unpackPart: () => Promise.reject(flaw), unpackGrowing: () => Promise.reject(flaw) },
  };
  assert.equal((await runOnce(broken, { trigger: 'command' })).state, 'failed');
  const told = async (name: string) => (await listHoldings(pair.branch, { isMeasured: true })).find(({ image }) => image === name);
  const sought = await told('sought@1');
  assert.deepEqual([sought?.state, sought?.wanted, sought?.held], ['arriving', true, false]);
  assert.ok((sought?.bytesMissing ?? 0) >= 200_000);
  assert.match(sought?.error?.message ?? '', /^its content did not arrive: .*on purpose/);
  await run();
  const arrived = await told('sought@1');
  assert.deepEqual([arrived?.state, arrived?.role, arrived?.bytesMissing, arrived?.error], ['published', 'active', 0, null]);
  assert.ok(arrived?.verifiedAt);
  const [poster, previous] = [await told('poster@1'), await told('till@3')];
  assert.deepEqual([poster?.wanted, poster?.held, poster?.choice], [true, true, 'pinned']);
  assert.deepEqual([previous?.role, (await told('lab@1'))?.wanted], ['previous', false]);
});

test('content that a run found here and did not fetch counts as verified when somebody has read it', async () => {
  await scopeTo({});
  const first = await publish('first');
  await run();
  assert.ok((await at(first))?.verifiedAt);
  const twin = await importImage(pair.hq, { path: join(root, `disk-${made}.raw`), name: 'twin', actor });
  assert.equal(twin.manifest, first.manifest);
  await run();
  const found = await at(twin);
  assert.deepEqual([found?.state, found?.verifiedAt], ['published', null]);
  await verifyImage(pair.branch, 'twin');
  assert.ok((await at(twin))?.verifiedAt);
});

test('a site that does not sync is reported once, by itself and by its parent, and once when it does again', async () => {
  const hours = (n: number) => ({ now: () => Date.now() + n * 3_600_000 });
  const kinds = async (site: Site) =>
    (await listEvents(site.db, { subject: pair.branch.self.id, limit: 1000 }))
      .map(({ kind }) => kind)
      .filter((kind) => kind.startsWith('site.'));
  await run();
  await run();
  for (const site of [pair.branch, pair.hq]) {
    for (const later of [0, 47, 49, 50, 500]) await checkAlarms({ ...site, ...hours(later) });
    assert.deepEqual(await kinds(site), ['site.not-synced']);
    await checkAlarms({ ...site, ...hours(-30) });
    assert.deepEqual(await kinds(site), ['site.not-synced', 'site.synced-again']);
    await checkAlarms({ ...site, ...hours(500), config: { ...site.config, alarmAfterHours: 0 } });
    assert.equal((await kinds(site)).length, 2);
    await checkAlarms({ ...site, ...hours(49) });
  }
  const { document } = await runJson<{ items: { server: string; alarm: { words: string } }[] }>([
    'sync',
    'sites',
    '--data',
    pair.hq.dataDir,
  ]);
  assert.match(document.items.find(({ server }) => server === 'branch')?.alarm.words ?? '', /^branch has not synced since 20/);
  await run();
  for (const site of [pair.branch, pair.hq]) await checkAlarms(site);
  assert.equal((await kinds(pair.hq)).at(-1), 'site.synced-again');
});
