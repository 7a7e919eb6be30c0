import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Image } from '../../core/image.ts';
import { listEvents } from '../../server/db/events.ts';
import { getImage } from '../../server/db/images.ts';
import { getLink, updateLinkRate } from '../../server/db/links.ts';
import type { Run } from '../../server/db/runs.ts';
import { getServer, updateServer } from '../../server/db/servers.ts';
import { listSources } from '../../server/db/sources.ts';
import { openParent } from '../../server/replication/parent-client.ts';
import { onlyLink, runOnce } from '../../server/replication.ts';
import { type Serving, startServe } from '../../server/serve.ts';
import type { Site } from '../../server/site.ts';
import { addSource, dropSource } from '../../server/sources.ts';
import { issueEnrolToken } from '../../server/trust/enrol-token.ts';
import { type PacingProxy, startPacingProxy } from '../helpers/pacing-proxy.ts';
import { enrolAt, importDisk, makeDisk, makeSite } from '../helpers/replication-sites.ts';
import { runWhileServing } from '../helpers/served-run.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { waitUntil } from '../helpers/wait-until.ts';

/** hq with two branches, `sibling` and `branch`; the line between hq and branch can be made slow; branch may ask the sibling. */
const root = await temporaryDirectory('sources');
const MB = 1_000_000;
const FRAME = 1_048_576;
const FAST = 1000 * MB;
let hq: Site;
let sibling: Site;
let branch: Site;
let atHq: Serving;
let atSibling: Serving;
let line: PacingProxy;

before(async () => {
  hq = await makeSite(root, 'hq');
  sibling = await makeSite(root, 'sibling');
  branch = await makeSite(root, 'branch');
  atHq = await startServe(hq);
  atSibling = await startServe(sibling);
  line = await startPacingProxy({ bytesPerSecond: FAST, latencyMs: 0 });
  await enrolAt(hq, sibling, atHq.httpsUrl);
  await enrolAt(hq, branch, atHq.httpsUrl);
  await rewire();
  const { token } = await issueEnrolToken(sibling);
  await addSource(branch, { url: atSibling.httpsUrl, token, actor: 'test' });
});
after(async () => {
  await branch.close();
  await line.close();
  await atSibling.close();
  await sibling.close();
  await atHq.close();
  await hq.close();
});

/** The parent's addresses as its listeners are now: the sibling's straight, the branch's over the line. */
async function rewire(): Promise<void> {
  line.setUpstream(Number(new URL(atHq.httpsUrl).port));
  for (const [child, url] of [
    [sibling, atHq.httpsUrl],
    [branch, `https://127.0.0.1:${line.port}`],
  ] as const) {
    const parent = await getServer(child.db, hq.self.id);
    assert.ok(parent);
    await updateServer(child.db, { ...parent, url });
  }
}

async function killHq(): Promise<void> {
  line.cut();
  await atHq.close();
}

async function reviveHq(): Promise<void> {
  atHq = await startServe(hq);
  await rewire();
}

const run = (site: Site): Promise<Run> => runOnce(site, { trigger: 'command' });
const given = (ended: Run, by: Site) => ended.sources.find(({ server }) => server === by.self.id)?.bytesRsync ?? 0;
const stateAt = async (site: Site, image: Image) => (await getImage(site.db, image.id))?.state;

/** A new image that the master and the sibling hold. */
async function publish(name: string, bytes: number): Promise<{ image: Image; disk: Buffer }> {
  const disk = await makeDisk(join(root, `${name}.raw`), bytes);
  const image = await importDisk(hq, join(root, `${name}.raw`), name);
  assert.equal((await runWhileServing(sibling)).state, 'done');
  return { image, disk };
}

test('a parent that dies in the middle of a transfer is replaced by the sibling, in the same run, and nothing crosses twice', async () => {
  const { image, disk } = await publish('death', 6 * MB);
  line.setBytesPerSecond(3 * MB);
  const running = run(branch);
  const before = line.bytes.down;
  await waitUntil('2 MB came', () => line.bytes.down - before >= 2 * MB, { everyMs: 10, during: running });
  await killHq();
  const ended = await running;
  assert.deepEqual([ended.state, ended.error], ['done', null]);
  const [fromHq, fromSibling] = [given(ended, hq), given(ended, sibling)];
  assert.ok(fromHq > 0 && fromSibling > 0, JSON.stringify(ended.sources));
  assert.equal(fromHq + fromSibling, ended.bytesRsync);
  assert.ok(ended.bytesRsync <= ended.bytesNeeded + FRAME, `${ended.bytesRsync} of ${ended.bytesNeeded} by rsync`);
  const path = join(root, 'death.export');
  await branch.store.exportDisk(image.manifest, path);
  assert.ok(disk.equals(await readFile(path)));
  const [turned] = (await listEvents(branch.db, { subject: ended.id })).filter(({ kind }) => kind === 'run.turned');
  assert.deepEqual([turned?.data['from'], turned?.data['to']], ['hq', 'sibling']);
  line.setBytesPerSecond(FAST);
  await reviveHq();
});

test('while the parent is away what it had announced is completed from the sibling; nothing new is learnt, and the run says so', async () => {
  const { image } = await publish('announced', MB);
  const flaw = Object.assign(new Error('on purpose'), { code: 'failed' });
  const broken = {
    ...branch,
    store: { ...branch.store, unpackPart: () => Promise.reject(flaw), unpackGrowing: () => Promise.reject(flaw) },
  };
  assert.equal((await run(broken)).state, 'failed');
  const { image: unheard } = await publish('unheard', MB);
  const { lastRunAt } = await onlyLink(branch);
  await killHq();
  const ended = await run(branch);
  assert.deepEqual([ended.state, ended.error?.code], ['partial', 'unreachable']);
  assert.match(ended.error?.message ?? '', /what was wanted before came from another server/);
  assert.deepEqual([await stateAt(branch, image), await stateAt(branch, unheard)], ['published', undefined]);
  // The part that came from the master before is the same at the sibling: only its archive is asked for.
  assert.deepEqual(
    ended.sources.map(({ name }) => name),
    ['sibling'],
  );
  assert.ok(ended.bytesRsync < 0.1 * MB, `${ended.bytesRsync} by rsync`);
  assert.equal((await onlyLink(branch)).lastRunAt, lastRunAt, 'the branch has not synced with its parent');
  assert.equal((await run(branch)).state, 'failed', 'with nothing left to complete the parent is missed');
  await reviveHq();
  assert.equal((await run(branch)).state, 'done');
  assert.equal(await stateAt(branch, unheard), 'published');
});

test('a parent that gives less than a tenth of what it gave before is left for the sibling', async () => {
  const { image } = await publish('slow', 3 * MB);
  await updateLinkRate(branch.db, (await onlyLink(branch)).id, 20 * MB);
  line.setBytesPerSecond(200_000);
  const impatient = { ...branch, config: { ...branch.config, slowSeconds: 1 } };
  const ended = await run(impatient);
  line.setBytesPerSecond(FAST);
  assert.deepEqual([ended.state, await stateAt(branch, image)], ['done', 'published']);
  assert.ok(given(ended, sibling) > given(ended, hq), JSON.stringify(ended.sources));
  const [turned] = (await listEvents(branch.db, { subject: ended.id })).filter(({ kind }) => kind === 'run.turned');
  assert.match(String(turned?.data['why']), /^hq gave \d+ bytes\/s for 1 s, less than 10 % of 20000000/);
  assert.ok(((await listSources(branch.db))[0]?.rateBytes ?? 0) > 0);
});

test('what the parent knows and does not hold comes from a server that holds it', async () => {
  const { image } = await publish('shared', MB);
  await hq.db('images').where({ id: image.id }).update({ state: 'known' });
  const ended = await run(branch);
  await hq.db('images').where({ id: image.id }).update({ state: 'published' });
  assert.deepEqual([ended.state, await stateAt(branch, image)], ['done', 'published']);
  assert.deepEqual([given(ended, hq), given(ended, sibling) > 0], [0, true]);
});

test('a source is no parent: it learns of no child, tells nothing of what exists, and is given up by name', async () => {
  const known = await getServer(sibling.db, branch.self.id);
  assert.equal(known?.isContentOnly, true);
  const [source] = await listSources(branch.db);
  assert.ok(source);
  const link = await getLink(branch.db, (await onlyLink(branch)).id);
  const asParent = {
    ...source,
    id: source.serverId,
    relation: 'parent',
    state: 'active',
    ca: null,
    signerKeyId: null,
    seenAt: null,
  } as const;
  const client = openParent(branch, { parent: asParent, link: link as NonNullable<typeof link> });
  await assert.rejects(client.reach(), { code: 'not_permitted' });
  client.close(false);
  const { token } = await issueEnrolToken(hq);
  await assert.rejects(addSource(branch, { url: atHq.httpsUrl, token, actor: 'test' }), {
    code: 'wrong_state',
    message: /child of this server/,
  });
  await dropSource(branch, 'sibling', 'test');
  assert.deepEqual(await listSources(branch.db), []);
});
