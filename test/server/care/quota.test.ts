import assert from 'node:assert/strict';
import { copyFile, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { collect, measure } from '../../../server/care/chores.ts';
import { listSpareImages } from '../../../server/care/spare.ts';
import { viewStore } from '../../../server/care/store-view.ts';
import { listEvents } from '../../../server/db/events.ts';
import { putStoreSample } from '../../../server/db/store-samples.ts';
import { deleteImage } from '../../../server/images/delete.ts';
import { runOnce } from '../../../server/replication.ts';
import { importDisk, makeDisk, makePair, makeSite } from '../../helpers/replication-sites.ts';
import { runCli, runJson } from '../../helpers/run-cli.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';

const MB = 1_000_000;
const DAY = 86_400_000;

test('a run that would exceed the quota of its site fetches nothing and says so; with room it goes through', async () => {
  const root = await temporaryDirectory('quota');
  const pair = await makePair(root, { storeQuotaBytes: 1 * MB });
  try {
    await makeDisk(join(root, 'disk.raw'), 3 * MB);
    await importDisk(pair.hq, join(root, 'disk.raw'));
    const refused = await runOnce(pair.branch, { trigger: 'command' });
    assert.deepEqual([refused.state, refused.error?.code, refused.bytesRsync], ['archive', 'disk_full', 0]);
    assert.match(refused.error?.message ?? '', /quota.*storeQuotaBytes/);
    const roomy = { ...pair.branch, config: { ...pair.branch.config, storeQuotaBytes: 10 * MB } };
    assert.equal((await runOnce(roomy, { trigger: 'command' })).state, 'done');
    await makeDisk(join(root, 'more.raw'), 1 * MB);
    await assert.rejects(importDisk(pair.branch, join(root, 'more.raw'), 'own'), { code: 'disk_full' });
  } finally {
    await pair.close();
  }
});

test('store stats shows quota, growth and the day on which it is full; a dry run names old versions that could go', async () => {
  const root = await temporaryDirectory('forecast');
  const site = await makeSite(root, 'hq', { storeQuotaBytes: 100 * MB });
  const disk = await makeDisk(join(root, 'disk.raw'), 2 * MB);
  for (let version = 1; version <= 4; version++) {
    disk.fill(version, 2 * MB + version * 200_000, 2 * MB + (version + 1) * 200_000);
    await writeFile(join(root, 'disk.raw'), disk);
    await importDisk(site, join(root, 'disk.raw'));
    if (version === 1) await copyFile(join(root, 'disk.raw'), join(root, 'first.raw'));
  }
  const { storedBytes } = await site.store.stats();
  for (let days = 3; days >= 1; days--) {
    await putStoreSample(site.db, site.self.id, { at: site.now() - days * DAY, usedBytes: storedBytes - days * 10 * MB });
  }
  await measure(site);
  const view = await viewStore(site);
  assert.equal(view.quotaBytes, 100 * MB);
  assert.ok(Math.abs((view.forecast?.bytesPerDay ?? 0) - 10 * MB) < 10_000, `${view.forecast?.bytesPerDay}`);
  const daysLeft = (Date.parse(view.forecast?.fullAt ?? '') - site.now()) / DAY;
  assert.ok(Math.abs(daysLeft - (100 * MB - storedBytes) / (10 * MB)) < 0.1, `${daysLeft}`);
  const spare = await listSpareImages(site);
  assert.deepEqual(spare.map(({ reference }) => reference).sort(), ['debian@1', 'debian@2']);
  assert.ok(spare.every(({ bytes, how }) => bytes > 0 && how.includes('image delete')));
  await importDisk(site, join(root, 'first.raw'), 'twin');
  const [freed] = (await listSpareImages(site)).filter(({ reference }) => reference === 'debian@1');
  assert.equal(freed?.bytes, 0, 'another image has the same content');
  await site.close();
  const { code, document } = await runJson<{ spare: unknown[] }>(['store', 'gc', '--dry-run', '--data', site.dataDir]);
  assert.deepEqual([code, document.spare.length], [0, 2]);
  const words = await runCli(['store', 'stats', '--data', site.dataDir]);
  assert.match(words.stdout, /quota: +100 MB, \d+ % used/);
  assert.match(words.stdout, /a day: full on \d{4}-\d\d-\d\d at this rate/);
  assert.match((await runCli(['store', 'gc', '--dry-run', '--data', site.dataDir])).stdout, /could go too: +debian@1/);
});

test('a store that is nearly full collects by itself what nobody needs, and nothing else', async () => {
  const root = await temporaryDirectory('pressure');
  const site = await makeSite(root, 'hq');
  try {
    await makeDisk(join(root, 'disk.raw'), 2 * MB);
    const gone = await importDisk(site, join(root, 'disk.raw'), 'gone');
    await makeDisk(join(root, 'other.raw'), 2 * MB);
    const kept = await importDisk(site, join(root, 'other.raw'), 'kept');
    await deleteImage(site, 'gone@1', 'test');
    const packs = join(site.dataDir, 'store', 'packs');
    const old = new Date(Date.now() - 3 * DAY);
    for (const pack of (await import('node:fs')).readdirSync(packs)) await utimes(join(packs, pack), old, old);
    await measure(site);
    assert.deepEqual((await site.store.missingOf([gone.manifest])).complete, [gone.manifest], 'there is room');
    const pressed = { ...site, config: { ...site.config, storeQuotaBytes: 4 * MB } };
    await measure(pressed);
    assert.deepEqual((await site.store.missingOf([gone.manifest, kept.manifest])).complete, [kept.manifest]);
    const event = (await listEvents(site.db)).find(({ kind }) => kind === 'store.collected');
    assert.equal((event?.data as { why?: string } | undefined)?.why, 'pressure');
    await Promise.all([collect(site, 'schedule'), collect(site, 'schedule')]);
    await site.store.exportDisk(kept.manifest, join(root, 'out.raw'));
    assert.ok((await readFile(join(root, 'out.raw'))).equals(await readFile(join(root, 'other.raw'))));
  } finally {
    await site.close();
  }
});

test('a schedule that never comes stops the server at its start, naming the key', async () => {
  const root = await temporaryDirectory('schedule');
  await assert.rejects(makeSite(root, 'hq', { scrubSchedule: 'every night' }), { code: 'config', message: /scrubSchedule/ });
  await assert.rejects(makeSite(root, 'hq', { gcSchedule: '0 0 30 2 *' }), { code: 'config', message: /gcSchedule/ });
  await (await makeSite(root, 'fine', { scrubSchedule: 'off', gcSchedule: 'off' })).close();
});
