import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, open, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { after, before, test } from 'node:test';
import { digestOf, signedBytes } from '../../core/envelope.ts';
import { READ_ENCODINGS } from '../../core/negotiate.ts';
import { listImages } from '../../server/db/images.ts';
import { listLinks, updateLinkHeld } from '../../server/db/links.ts';
import { putObject, takeGeneration } from '../../server/db/objects.ts';
import { listRuns, type Run } from '../../server/db/runs.ts';
import { getServer, updateServer } from '../../server/db/servers.ts';
import { runOnce } from '../../server/replication.ts';
import { revokeServer } from '../../server/servers.ts';
import type { Site } from '../../server/site.ts';
import { lockPart } from '../../sync/replicate/incoming.ts';
import { type PacingProxy, startPacingProxy } from '../helpers/pacing-proxy.ts';
import { enrolAt, importDisk, makeDisk, makePair, makeSite, reopenSite } from '../helpers/replication-sites.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { waitUntil } from '../helpers/wait-until.ts';

const root = await temporaryDirectory('replication-failures');
const MB = 1_000_000;
let pair: Awaited<ReturnType<typeof makePair>>;
let proxy: PacingProxy;
let made = 0;

before(async () => {
  pair = await makePair(root);
  proxy = await startPacingProxy({ bytesPerSecond: 1000 * MB, latencyMs: 0 });
  proxy.setUpstream(Number(new URL(pair.serving.httpsUrl).port));
  await changeParent({ url: `https://127.0.0.1:${proxy.port}` });
});
after(async () => {
  await pair.close();
  await proxy.close();
});

const run = (site: Site = pair.branch): Promise<Run> => runOnce(site, { trigger: 'command' });

async function changeParent(change: Parameters<typeof updateServer>[1] extends infer Server ? Partial<Server> : never): Promise<void> {
  const parent = await getServer(pair.branch.db, pair.hq.self.id);
  assert.ok(parent);
  await updateServer(pair.branch.db, { ...parent, ...change });
}

/** A new image at the master; gives its name. */
async function publish(bytes = MB): Promise<string> {
  made += 1;
  const path = join(root, `disk-${made}.raw`);
  await makeDisk(path, bytes);
  return (await importDisk(pair.hq, path, `disk-${made}`)).name;
}

async function holds(name: string): Promise<boolean> {
  return (await listImages(pair.branch.db)).some((image) => image.name === name && image.state === 'published');
}

/** What the next run would fetch: the parts that the parent builds for one image. */
async function partsFor(name: string) {
  const image = (await listImages(pair.hq.db)).find((candidate) => candidate.name === name);
  assert.ok(image);
  const { parts, directory } = await pair.hq.store.buildArchive({ have: [], want: [image.manifest], encodings: READ_ENCODINGS });
  const [part] = parts;
  assert.ok(part);
  return { part, path: join(directory, part.name), local: join(pair.branch.dataDir, 'store', 'incoming', part.name) };
}

test('a parent that does not answer ends the run as unreachable', async () => {
  await changeParent({ url: 'https://127.0.0.1:1' });
  const failed = await run();
  await changeParent({ url: `https://127.0.0.1:${proxy.port}` });
  assert.deepEqual([failed.state, failed.error?.code], ['failed', 'unreachable']);
  assert.match(failed.error?.message ?? '', /127\.0\.0\.1 port 1/);
});

test('a parent under another CA than the pinned one is refused, and nothing is asked of it', async () => {
  const other = await makePair(join(root, 'other'));
  await changeParent({ url: other.serving.httpsUrl });
  const failed = await run();
  await changeParent({ url: `https://127.0.0.1:${proxy.port}` });
  await other.close();
  assert.deepEqual([failed.state, failed.error?.code], ['failed', 'denied']);
});

test('without rsync the run fails with the line that installs it, and the next one does the work', async () => {
  const name = await publish();
  const path = process.env['PATH'];
  const bin = join(root, 'bin-without-rsync');
  await mkdir(bin, { recursive: true });
  for (const name of ['flock', 'prlimit']) await symlink(`/usr/bin/${name}`, join(bin, name));
  process.env['PATH'] = bin;
  const failed = await run().finally(() => {
    process.env['PATH'] = path;
  });
  assert.deepEqual([failed.state, failed.error?.code, failed.error?.hint], ['failed', 'missing_program', 'apt install rsync']);
  assert.equal((await run()).state, 'done');
  assert.ok(await holds(name));
});

for (const [what, damage] of [
  ['of the right length with wrong bytes', (size: number) => Buffer.alloc(size, 1)],
  ['longer than it should be', (size: number) => Buffer.alloc(size + 5000, 1)],
  ['with a wrong beginning', (size: number) => Buffer.alloc(Math.floor(size / 2), 1)],
] as const) {
  test(`a local part ${what} is fetched again`, async () => {
    const name = await publish();
    const { part, local } = await partsFor(name);
    await mkdir(local, { recursive: true });
    await writeFile(join(local, part.name), damage(part.sizeBytes));
    assert.equal((await run()).state, 'done');
    assert.ok(await holds(name));
  });
}

test('a run waits for the rsync that a killed predecessor left on its part', async () => {
  const name = await publish();
  const { part, local } = await partsFor(name);
  await mkdir(local, { recursive: true });
  // As the receiver of a killed process does: the lock is held by a descriptor that it inherited.
  const directory = await open(local, 'r');
  const receiver = spawn('sh', ['-c', 'flock -x 3; echo locked; read -r line'], { stdio: ['pipe', 'pipe', 'ignore', directory.fd] });
  await once(receiver.stdout as Readable, 'data');
  await directory.close();
  await assert.rejects(lockPart(join(pair.branch.dataDir, 'store', 'incoming'), part.name, { waitSeconds: 0 }), { code: 'busy' });
  const running = run();
  const last = async () => (await listRuns(pair.branch.db, { limit: 1 }))[0];
  try {
    await waitUntil('the run waits', async () => (await last())?.state === 'transfer', { during: running, state: last });
    assert.deepEqual(await readdir(local), []);
  } finally {
    // Also after a failure: the run, and with it this file, would wait for it.
    (receiver.stdin as Writable).end('\n');
    await Promise.allSettled([running]);
  }
  assert.equal((await running).state, 'done');
  assert.ok(await holds(name));
});

test('links that break in the middle are continued within the run', async () => {
  const name = await publish(6 * MB);
  proxy.setBytesPerSecond(8 * MB);
  const start = proxy.bytes.down;
  const timer = setInterval(() => {
    if (proxy.bytes.down - start < 3 * MB) return;
    clearInterval(timer);
    proxy.cut();
  }, 10);
  const done = await run().finally(() => clearInterval(timer));
  proxy.setBytesPerSecond(1000 * MB);
  assert.deepEqual([done.state, done.error], ['done', null]);
  assert.ok(await holds(name));
  assert.ok(proxy.bytes.down - start < 6 * MB + 1_300_000, `${proxy.bytes.down - start} bytes on the link`);
});

test('a catalogue older than the one held is refused', async () => {
  const [link] = await listLinks(pair.branch.db);
  assert.ok(link);
  const held = { epoch: link.heldEpoch, generation: link.heldGeneration };
  await updateLinkHeld(pair.branch.db, link.id, { ...held, generation: held.generation + 5, at: 0 });
  const failed = await run();
  await pair.branch.db('links').where({ id: link.id }).update({ held_generation: held.generation });
  assert.deepEqual([failed.state, failed.error?.code], ['failed', 'mismatch']);
  assert.match(failed.error?.message ?? '', /going back is refused/);
});

test("an object with a signature that is not its origin's is refused with the whole catalogue", async () => {
  const name = await publish();
  const stranger = await makeSite(root, 'stranger');
  const body = { note: 'not from here' };
  const unsigned = {
    kind: 'document',
    id: stranger.self.id,
    origin: pair.hq.self.id,
    revision: 1,
    digest: digestOf(body),
    keyId: pair.hq.keys.signerKeyId,
  } as const;
  const forged = { ...unsigned, body, signature: stranger.keys.sign(signedBytes(unsigned)) };
  await pair.hq.db.transaction(async (trx) => putObject(trx, forged, await takeGeneration(trx)));
  const failed = await run();
  await pair.hq.db('objects').where({ id: forged.id }).delete();
  await stranger.close();
  assert.deepEqual([failed.state, failed.error?.code], ['failed', 'bad_signature']);
  assert.equal(await holds(name), false);
  assert.equal((await run()).state, 'done');
  assert.ok(await holds(name));
});

test('a disk without room pauses the run as disk_full before anything is fetched, and the next look goes on with it', async () => {
  const name = await publish(2 * MB);
  const reserve = Number.MAX_SAFE_INTEGER;
  const crowded: Site = { ...pair.branch, config: { ...pair.branch.config, storeReserveBytes: reserve } };
  const failed = await run(crowded);
  assert.deepEqual([failed.state, failed.error?.code, failed.bytesRsync], ['diff', 'disk_full', 0]);
  const done = await run();
  assert.deepEqual([done.id, done.state, done.error], [failed.id, 'done', null]);
  assert.ok(await holds(name));
});

if (process.getuid?.() === 0) {
  test('a file system that fills up under rsync pauses the run as disk_full; it goes on with what came when there is room', async () => {
    await publish(8 * MB);
    await (await makeSite(root, 'full')).close();
    const small = join(root, 'full', 'store');
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=6m', 'tmpfs', small]);
    const child = await reopenSite(root, 'full');
    try {
      await enrolAt(pair.hq, child, pair.serving.httpsUrl);
      // The check in advance is switched off, so that the file system itself says no.
      const careless: Site = { ...child, config: { ...child.config, storeReserveBytes: Number.NEGATIVE_INFINITY } };
      const failed = await run(careless);
      assert.deepEqual([failed.state, failed.error?.code], ['transfer', 'disk_full']);
      execFileSync('mount', ['-o', 'remount,size=100m', small]);
      const done = await run(child);
      assert.deepEqual([done.state, done.error], ['done', null]);
      assert.ok(
        done.bytesRsync < done.bytesNeeded * 1.02 + 1_048_576,
        `${done.bytesRsync} bytes for ${done.bytesNeeded}: what had come came again`,
      );
      assert.deepEqual((await child.store.check()).damages, []);
    } finally {
      await child.close();
      execFileSync('umount', ['-l', small]);
    }
  });
}

test('a revoked child is refused, with words that say so', async () => {
  await publish();
  const late = await makeSite(root, 'late');
  await enrolAt(pair.hq, late, pair.serving.httpsUrl);
  await revokeServer(pair.hq, 'late', 'test');
  const failed = await run(late);
  await late.close();
  assert.deepEqual([failed.state, failed.error?.code], ['failed', 'revoked']);
});

test('a transfer removes the parts that earlier runs left and it does not want', async () => {
  const stale = join(pair.branch.dataDir, 'store', 'incoming', 'f'.repeat(64));
  await mkdir(stale, { recursive: true });
  await writeFile(join(stale, 'f'.repeat(64)), 'old');
  await publish();
  assert.equal((await run()).state, 'done');
  await assert.rejects(stat(stale), { code: 'ENOENT' });
});
