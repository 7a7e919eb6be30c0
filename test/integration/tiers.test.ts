import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { offerImage } from '../../server/control/offers/make.ts';
import { serverName } from '../../server/control/servers-below.ts';
import { listEvents } from '../../server/db/events.ts';
import { listImages } from '../../server/db/images.ts';
import { updateLinkAfterParent } from '../../server/db/links.ts';
import { getObject } from '../../server/db/objects.ts';
import { listRuns, type RunHead } from '../../server/db/runs.ts';
import { getServer, setChildRing, updateServer } from '../../server/db/servers.ts';
import { importImage } from '../../server/images/import.ts';
import { resolveImage } from '../../server/images/reference.ts';
import { LINKS } from '../../server/replication/follow-parent.ts';
import { onlyLink, requestRun } from '../../server/replication.ts';
import { type Serving, startServe } from '../../server/serve.ts';
import type { Site } from '../../server/site.ts';
import { type PacingProxy, startPacingProxy } from '../helpers/pacing-proxy.ts';
import { enrolAt, importDisk, makeDisk, makeSite } from '../helpers/replication-sites.ts';
import { runCli, runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { waitUntil } from '../helpers/wait-until.ts';

/** hq → relay → branch, all three serving; the line between hq and relay can be made slow. */
const root = await temporaryDirectory('tiers');
const MB = 1_000_000;
const FAST = 1000 * MB;
let hq: Site;
let relay: Site;
let branch: Site;
let line: PacingProxy;
let branchUrl: string;
const open: (() => Promise<void>)[] = [];

async function site(name: string): Promise<Site> {
  const made = await makeSite(root, name);
  open.push(() => made.close());
  return made;
}

async function serve(at: Site): Promise<Serving> {
  const serving = await startServe(at);
  open.push(() => serving.close());
  return serving;
}

async function moveParent(child: Site, parent: Site, url: string): Promise<void> {
  const known = await getServer(child.db, parent.self.id);
  assert.ok(known);
  await updateServer(child.db, { ...known, url });
}

async function follow(at: Site, isOn: boolean): Promise<void> {
  await updateLinkAfterParent(at.db, (await onlyLink(at)).id, isOn);
  at.wake.notify(LINKS);
}

before(async () => {
  hq = await site('hq');
  relay = await site('relay');
  branch = await site('branch');
  const served = await serve(hq);
  await enrolAt(hq, relay, served.httpsUrl);
  line = await startPacingProxy({ bytesPerSecond: FAST, latencyMs: 0 });
  open.push(() => line.close());
  line.setUpstream(Number(new URL(served.httpsUrl).port));
  await moveParent(relay, hq, `https://127.0.0.1:${line.port}`);
  await enrolAt(relay, branch, (await serve(relay)).httpsUrl);
  branchUrl = (await serve(branch)).httpsUrl;
});
after(async () => {
  for (const close of open.reverse()) await close();
});

/** Waits until a run of this server ended after one that `isIt` says is the one. */
function ended(at: Site, isIt: (run: RunHead) => boolean): Promise<RunHead> {
  const look = async () => (await listRuns(at.db)).find((run) => run.endedAt !== null && isIt(run));
  return waitUntil(`a run of ${at.self.name} ended`, look, { state: () => listRuns(at.db) });
}

const holds = async (at: Site, name: string) =>
  (await listImages(at.db)).find((image) => image.name === name && image.state === 'published');

const held = (at: Site, name: string) =>
  waitUntil(`${at.self.name} holds ${name}`, () => holds(at, name), { state: () => listRuns(at.db) });

test('an import at the top goes down tier by tier without any clock, and is the same bytes under the same signature', async () => {
  await follow(relay, true);
  await follow(branch, true);
  const disk = await makeDisk(join(root, 'disk.raw'), MB);
  const image = await importDisk(hq, join(root, 'disk.raw'), 'debian');
  const copy = await held(branch, 'debian');
  const path = join(root, 'export.raw');
  await branch.store.exportDisk(copy.manifest, path);
  assert.ok(disk.equals(await readFile(path)));
  assert.deepEqual(await getObject(branch.db, image.id), await getObject(hq.db, image.id));
  const [atRelay, atBranch] = [await ended(relay, () => true), await ended(branch, () => true)];
  assert.deepEqual([atRelay.trigger, atBranch.trigger], ['parent', 'parent']);
  assert.ok(atBranch.startedAt >= (atRelay.endedAt ?? 0), 'the branch began when the relay had published');
  await follow(relay, false);
  await follow(branch, false);
});

test('a run that finds its parent in the middle of its own run waits, and brings what that run brings', async () => {
  await makeDisk(join(root, 'slow.raw'), 2 * MB);
  await importDisk(hq, join(root, 'slow.raw'), 'slow');
  line.setBytesPerSecond(MB);
  const relayRun = await requestRun(relay, { trigger: 'command' });
  await waitUntil(
    'the relay is at it',
    async () => (await listRuns(relay.db)).some((run) => run.id === relayRun && run.state === 'transfer'),
    {
      state: () => listRuns(relay.db),
    },
  );
  const branchRun = await requestRun(branch, { trigger: 'command' });
  const done = await ended(branch, (run) => run.id === branchRun);
  line.setBytesPerSecond(FAST);
  assert.deepEqual([done.state, done.error], ['done', null]);
  const relayDone = await ended(relay, (run) => run.id === relayRun);
  assert.ok(done.startedAt < (relayDone.endedAt ?? 0), 'it was asked for while the relay was at it');
  assert.ok(await holds(branch, 'slow'));
});

test('sync status tells of every image beside the link and the run', async () => {
  const { document } = await runJson<{ link: { parent: string }; run: { state: string }; images: { image: string; held: boolean }[] }>([
    ...['sync', 'status', '--data', branch.dataDir],
  ]);
  assert.deepEqual([document.link.parent, document.run.state], ['relay', 'done']);
  assert.deepEqual(
    document.images.map(({ image, held }) => [image, held]),
    [
      ['slow@1', true],
      ['debian@1', true],
    ],
  );
});

test('the command line chooses versions, asks before a scope gives content up, and says whose an image is', async () => {
  const at = (site: Site, ...args: string[]) => runCli([...args, '--data', site.dataDir]);
  const code = async (...args: Parameters<typeof at>) => (await at(...args)).code;
  assert.equal(await code(branch, 'image', 'pin', 'debian@1'), 0);
  assert.equal(await code(branch, 'image', 'rollback', 'debian'), 65);
  assert.match((await at(branch, 'sync', 'status')).stdout, /debian@1 +published +active \(pinned\)/);
  assert.equal(await code(branch, 'image', 'unpin', 'debian'), 0);
  assert.equal(await code(branch, 'image', 'activate', 'debian'), 64);
  assert.equal(await code(branch, 'image', 'activate', 'debian@1', '--at', 'tomorrow'), 64);
  assert.equal(await code(branch, 'image', 'release', 'debian@1', '--all'), 77);
  const asked = await at(branch, 'sync', 'scope', 'set', '--names', 'deb*');
  assert.deepEqual([asked.code, /slow@1/.test(asked.stderr)], [64, true]);
  assert.equal(await code(branch, 'sync', 'scope', 'set', '--names', 'deb*', '--yes'), 0);
  assert.match((await at(branch, 'image', 'list')).stdout, /slow +1 +disk +amd64 +known/);
  assert.equal(await code(branch, 'sync', 'scope', 'clear'), 0);
  await runHere(branch);
  assert.ok(await holds(branch, 'slow'));
  assert.equal(await code(hq, 'server', 'ring', 'relay', '7'), 0);
  assert.equal(await code(relay, 'server', 'ring', 'hq', '7'), 64);
  assert.match((await at(branch, 'server', 'source')).stdout, /no further sources/);
});

test('a running server shows a version by itself when its time has come', async () => {
  const activateAt = new Date(Date.now() + 1_500).toISOString();
  const path = join(root, 'disk.raw');
  const next = await importImage(hq, { path, name: 'debian', activateAt, actor: 'test' });
  assert.equal((await resolveImage(hq.db, 'debian')).version, '1');
  const shown = async () => (await listEvents(hq.db, { subject: next.id })).find(({ kind }) => kind === 'image.activated');
  const told = await waitUntil('the version is shown', shown);
  assert.ok(told.at >= Date.parse(activateAt));
  assert.equal((await resolveImage(hq.db, 'debian')).version, '2');
});

test('a child is told its ring, its own or that of its parent', async () => {
  await setChildRing(hq.db, relay.self.id, 2);
  for (const at of [relay, branch]) await runHere(at);
  assert.deepEqual([(await onlyLink(relay)).ring, (await onlyLink(branch)).ring], [2, 2]);
  await setChildRing(relay.db, branch.self.id, 0);
  await runHere(branch);
  assert.equal((await onlyLink(branch)).ring, 0);
});

async function runHere(at: Site): Promise<void> {
  const id = await requestRun(at, { trigger: 'command' });
  assert.equal((await ended(at, (run) => run.id === id)).state, 'done');
}

test('a branch names the server above its parent when it refuses what belongs to that one', async () => {
  const words = new RegExp(`^image debian was made by server hq \\(${hq.self.id}\\)`);
  await assert.rejects(offerImage(branch, 'debian', 'test'), { code: 'not_permitted', message: words });
  assert.equal(await serverName(branch.db, hq.self.id), 'hq');
});

test('a server cannot join one that stands below it, two tiers down', async () => {
  await assert.rejects(enrolAt(branch, hq, branchUrl), { code: 'wrong_state', message: /above itself/ });
});

test('a circle that three servers joined before any of them could know is refused by the run that sees it', async () => {
  const ring = [await site('a'), await site('b'), await site('c')] as const;
  const served = [await serve(ring[0]), await serve(ring[1]), await serve(ring[2])] as const;
  const [a, b, c] = ring;
  await enrolAt(b, a, served[1].httpsUrl);
  await enrolAt(c, b, served[2].httpsUrl);
  await enrolAt(a, c, served[0].httpsUrl);
  const runs = [];
  for (const at of [a, b, c, a, b, c]) {
    const id = await requestRun(at, { trigger: 'command' });
    runs.push(await ended(at, (run) => run.id === id));
  }
  const refused = runs.filter((run) => run.error?.code === 'wrong_state');
  assert.ok(refused.length > 0, runs.map((run) => run.state).join());
  assert.match(refused[0]?.error?.message ?? '', /form a circle/);
});
