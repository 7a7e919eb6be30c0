import assert from 'node:assert/strict';
import { cp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { listEvents } from '../../server/db/events.ts';
import { listImages } from '../../server/db/images.ts';
import { getLinkToParent } from '../../server/db/links.ts';
import { getCatalogueNumbers } from '../../server/db/objects.ts';
import type { Run } from '../../server/db/runs.ts';
import { getServer, updateServer } from '../../server/db/servers.ts';
import { deleteDocument, documentsInForce, setDocument } from '../../server/documents.ts';
import { raiseEpoch } from '../../server/epoch.ts';
import { deleteImage } from '../../server/images/delete.ts';
import { runOnce } from '../../server/replication.ts';
import { type Serving, startServe } from '../../server/serve.ts';
import type { Site } from '../../server/site.ts';
import { enrolAt, importDisk, makeDisk, makeSite, reopenSite } from '../helpers/replication-sites.ts';
import { runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

const root = await temporaryDirectory('restored-master');
const DAY = 86_400_000;
let hq: Site;
let serving: Serving;
let branch: Site;
let hqId: Site['self']['id'];

before(async () => {
  hq = await makeSite(root, 'hq');
  hqId = hq.self.id;
  serving = await startServe(hq);
  branch = await makeSite(root, 'branch');
  await enrolAt(hq, branch, serving.httpsUrl);
  await publish('first');
  await set('kept', 'one');
  await set('changed', 'one');
  assert.equal((await run()).state, 'done');
});
after(async () => {
  await branch.close();
  await serving.close();
  await hq.close();
});

const run = (site = branch): Promise<Run> => runOnce(site, { trigger: 'command' });
const set = (name: string, value: string) => setDocument(hq, { type: 'parameter', name, actor: 'test' }, { value });
const eventsOf = async (site: Site, kind: string) => (await listEvents(site.db, { limit: 1000 })).filter((event) => event.kind === kind);
const images = async () => (await listImages(branch.db)).map(({ name }) => name).sort();

async function publish(name: string): Promise<void> {
  const path = join(root, `${name}.raw`);
  await makeDisk(path, 300_000);
  await importDisk(hq, path, name);
}

/** Stops the master, lets `work` change its directory, and starts it again where the branch looks for it. */
async function whileDown(work: () => Promise<void>): Promise<void> {
  await serving.close();
  await hq.close();
  await work();
  hq = await reopenSite(root, 'hq');
  serving = await startServe(hq);
  const parent = await getServer(branch.db, hqId);
  assert.ok(parent);
  await updateServer(branch.db, { ...parent, url: serving.httpsUrl });
}

test('an expired catalogue is refused, one event says so however often, and the site goes on with what it has', async () => {
  const late: Site = { ...branch, now: () => Date.now() + 8 * DAY };
  for (const attempt of [1, 2]) {
    const refused = await run(late);
    assert.deepEqual([refused.state, refused.error?.code], ['failed', 'expired'], `attempt ${attempt}`);
    assert.equal((await eventsOf(branch, 'catalogue.refused')).length, 1);
  }
  assert.deepEqual(await images(), ['first']);
  assert.equal((await run()).state, 'done');
  assert.equal((await run(late)).error?.code, 'expired');
  assert.equal((await eventsOf(branch, 'catalogue.refused')).length, 2, 'it was well in between');
  assert.equal((await run()).state, 'done');
});

test('a master that was made anew under the same address is refused and wipes nothing', async () => {
  await whileDown(async () => {
    await rename(join(root, 'hq'), join(root, 'hq-away'));
    await (await makeSite(root, 'hq')).close();
  });
  const refused = await run();
  assert.deepEqual([refused.state, refused.error?.code], ['failed', 'denied']);
  assert.deepEqual(await images(), ['first']);
  await whileDown(async () => {
    await rm(join(root, 'hq'), { recursive: true });
    await rename(join(root, 'hq-away'), join(root, 'hq'));
  });
  assert.equal((await run()).state, 'done');
});

test('a master that was restored from a backup is refused, and both sides say what to do', async () => {
  await whileDown(() => cp(join(root, 'hq'), join(root, 'backup'), { recursive: true }));
  await publish('second');
  await set('changed', 'two');
  await set('lost', 'one');
  await deleteDocument(hq, { type: 'parameter', name: 'kept', actor: 'test' });
  assert.equal((await run()).state, 'done');
  await whileDown(async () => {
    await rm(join(root, 'hq'), { recursive: true });
    await cp(join(root, 'backup'), join(root, 'hq'), { recursive: true });
  });
  const before = (await eventsOf(branch, 'catalogue.refused')).length;
  for (const attempt of [1, 2]) {
    const refused = await run();
    assert.deepEqual([refused.state, refused.error?.code], ['failed', 'mismatch'], `attempt ${attempt}`);
    assert.match(refused.error?.hint ?? '', /restored from a backup.*waystation server epoch raise --yes/);
  }
  assert.equal((await eventsOf(branch, 'catalogue.refused')).length, before + 1);
  assert.equal((await eventsOf(hq, 'catalogue.behind')).length, 1);
  assert.deepEqual(await images(), ['first', 'second']);
});

test('in a new epoch its children believe it again, and keep and name what it lost', async () => {
  assert.equal((await runJson(['--data', join(root, 'hq'), 'server', 'epoch', 'raise'])).code, 64, 'nobody can be asked');
  const raised = await runJson<{ epoch: number }>(['--data', join(root, 'hq'), 'server', 'epoch', 'raise', '--yes']);
  assert.equal(raised.code, 0);
  const done = await run();
  assert.deepEqual([done.state, done.error, done.bytesRsync], ['done', null, 0]);
  assert.equal((await getLinkToParent(branch.db, hqId))?.heldEpoch, raised.document.epoch);
  assert.deepEqual(await images(), ['first', 'second']);
  const values = (await documentsInForce(branch)).map(({ name, content }) => [name, 'value' in content && content.value]);
  assert.deepEqual(values, [
    ['changed', 'two'],
    ['lost', 'one'],
  ]);
  const [kept, ...more] = await eventsOf(branch, 'catalogue.kept');
  assert.equal(more.length, 0);
  const { count, objects } = (kept?.data ?? {}) as { count: number; objects: string[] };
  assert.equal(count, 4);
  assert.deepEqual(objects.map((text) => text.replace(/[0-9a-f-]{36}/, 'ID')).sort(), [
    'deletion of document ID revision 2',
    'document changed revision 2',
    'document lost revision 1',
    'image second@1 revision 1',
  ]);
});

test('what the master makes and deletes afterwards arrives as always', async () => {
  await publish('third');
  await deleteImage(hq, 'first', 'test');
  assert.equal((await run()).state, 'done');
  assert.deepEqual(await images(), ['second', 'third']);
});

test('a restored master that made new things until its numbers fit again is refused all the same', async () => {
  await whileDown(async () => {
    await rm(join(root, 'backup'), { recursive: true });
    await cp(join(root, 'hq'), join(root, 'backup'), { recursive: true });
  });
  await set('before', 'lost');
  assert.equal((await run()).state, 'done');
  await whileDown(async () => {
    await rm(join(root, 'hq'), { recursive: true });
    await cp(join(root, 'backup'), join(root, 'hq'), { recursive: true });
  });
  const held = (await getLinkToParent(branch.db, hqId))?.heldGeneration;
  for (const [value, generation] of [
    ['one', held],
    ['two', (held ?? 0) + 1],
  ] as const) {
    await set('other', value);
    assert.equal((await getCatalogueNumbers(hq.db)).generation, generation);
    const refused = await run();
    assert.deepEqual([refused.state, refused.error?.code], ['failed', 'mismatch']);
    assert.match(refused.error?.message ?? '', /is not the one that this server took/);
  }
  await raiseEpoch(hq, 'test');
  assert.equal((await run()).state, 'done');
  const values = (await documentsInForce(branch)).map(({ name, content }) => `${name} ${'value' in content && content.value}`);
  assert.ok(values.includes('before lost') && values.includes('other two'), values.join());
});

test('a second restore from the same backup needs an epoch above the first one, and gets it', async () => {
  const first = (await getLinkToParent(branch.db, hqId))?.heldEpoch ?? 0;
  await whileDown(async () => {
    await rm(join(root, 'hq'), { recursive: true });
    await cp(join(root, 'backup'), join(root, 'hq'), { recursive: true });
  });
  assert.equal((await run()).error?.code, 'mismatch');
  const { epoch } = await raiseEpoch({ ...hq, now: () => (first + 1) * 1000 }, 'test');
  assert.equal(epoch, first + 1);
  assert.equal((await run()).state, 'done');
});
