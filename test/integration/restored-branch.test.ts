import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Name, parseMac } from '../../core/ids.ts';
import { regroupTarget } from '../../server/control/place.ts';
import { showTarget } from '../../server/control/things-below.ts';
import { listEvents } from '../../server/db/events.ts';
import { findImageVersion } from '../../server/db/images.ts';
import type { Site } from '../../server/site.ts';
import { addTarget, getTarget, noteTarget } from '../../server/targets.ts';
import { eventsArrived, eventually, makeNode, replicate, startNode } from '../helpers/control-sites.ts';
import { importDisk, makeDisk } from '../helpers/replication-sites.ts';
import { runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

const eventsOf = (at: Site, of: Site) => listEvents(at.db, { origin: of.self.id, limit: 100_000 });

test('a branch that was restored is believed: what happens there from then on is told, once, and its images come again', async (t) => {
  const root = await temporaryDirectory('restored-branch');
  const hq = await makeNode(root, 'hq');
  let branch = await makeNode(root, 'branch', hq);
  t.after(async () => {
    await branch.close();
    await hq.close();
  });
  await makeDisk(join(root, 'disk.raw'), 300_000);
  await importDisk(hq.site, join(root, 'disk.raw'));
  await replicate(branch);
  const add = (name: string, n: number) => addTarget(branch.site, { name: name as Name, macs: [parseMac(`52540000000${n}`)] }, 'test');
  const till = await add('till', 1);
  await eventually('all is told', () => eventsArrived(branch.site, hq.site));
  const taken = await runJson(['--data', join(root, 'branch'), 'server', 'backup', join(root, 'branch.wsb')]);
  assert.equal(taken.code, 0, JSON.stringify(taken.document));

  // Told after the backup, and forgotten by the branch.
  await eventually('the backup is told', () => eventsArrived(branch.site, hq.site));
  await noteTarget(branch.site, till.id, { activity: 'humming' });
  for (const n of [2, 3, 4]) await add(`forgotten-${n}`, n);
  await eventually('all is told', () => eventsArrived(branch.site, hq.site));
  await eventually('the state is told', async () => (await showTarget(hq.site, 'till')).activity === 'humming');
  const told = await eventsOf(hq.site, branch.site);
  await branch.close();
  await rm(join(root, 'branch'), { recursive: true });
  const restored = await runJson(['--data', join(root, 'again'), 'server', 'restore', join(root, 'branch.wsb')]);
  assert.equal(restored.code, 0, JSON.stringify(restored.document));
  branch = await startNode(root, 'again');
  await add('new', 5);

  await eventually('the new machine is known', () => showTarget(hq.site, 'new').catch(() => undefined));
  await eventually('what is so now is told', async () => (await showTarget(hq.site, 'till')).activity !== 'humming');
  const newest = async () => (await eventsOf(branch.site, branch.site)).at(-1)?.seq;
  await eventually('every event is told', async () => (await eventsOf(hq.site, branch.site)).at(-1)?.seq === (await newest()));
  const known = await eventsOf(hq.site, branch.site);
  assert.deepEqual(known.slice(0, told.length), told, 'what was known stays');
  const since = (await eventsOf(branch.site, branch.site)).slice(told.length);
  assert.deepEqual(known.slice(told.length), since);
  const kinds = since.map(({ kind }) => kind);
  for (const kind of ['catalogue.epoch-raised', 'server.restored', 'target.added', 'events.lost'])
    assert.equal(kinds.filter((one) => one === kind).length, 1, `${kind} in ${kinds}`);
  const here = await eventsOf(branch.site, branch.site);
  assert.deepEqual(
    here.map(({ seq }) => seq),
    Array.from(here, (_, n) => n + 1),
  );

  await regroupTarget(hq.site, 'till', 'front' as Name, 'test');
  await eventually('a command is done', async () => (await getTarget(branch.site, 'till')).group === 'front');
  assert.equal((await findImageVersion(branch.site.db, 'debian', '1'))?.state, 'known');
  await replicate(branch);
  const image = await findImageVersion(branch.site.db, 'debian', '1');
  assert.equal(image?.state, 'published');
  assert.deepEqual((await branch.site.store.check()).damages, []);
});
