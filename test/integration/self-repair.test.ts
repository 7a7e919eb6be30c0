import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, test } from 'node:test';
import { parseFrameHeader } from '../../core/content/frame.ts';
import type { FoundDamage } from '../../core/content-store.ts';
import { type Digest, digestBytes, newId } from '../../core/ids.ts';
import { healStore } from '../../server/care/heal.ts';
import { findHurtImages } from '../../server/care/lost.ts';
import { fetchHere } from '../../server/care/repair-run.ts';
import { repairStore } from '../../server/care/repair-store.ts';
import { listEvents } from '../../server/db/events.ts';
import { listImages } from '../../server/db/images.ts';
import { listLinks } from '../../server/db/links.ts';
import { getPlan, insertRun, listRuns } from '../../server/db/runs.ts';
import { runOnce } from '../../server/replication.ts';
import { startServe } from '../../server/serve.ts';
import type { Site } from '../../server/site.ts';
import { EMPTY_PLAN, parsePlan } from '../../sync/replicate/plan.ts';
import { random } from '../core/content/make-disk.ts';
import { flipBit } from '../helpers/flip-bit.ts';
import { howMany } from '../helpers/how-many.ts';
import { importDisk, makeDisk, makePair, makeSite, reopenSite } from '../helpers/replication-sites.ts';
import { runCli, runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { waitUntil } from '../helpers/wait-until.ts';

/** SEED repeats a series. */
const FLIPS = howMany({ sample: 8, full: 1000 });
const SEED = Number(process.env['SEED'] ?? 20_261_127);
/** What a repair costs beside its chunks: the TLS handshakes, the request, rsync's greetings, the part's header and trailer. */
const OVERHEAD_BYTES = 12_000;

const root = await temporaryDirectory('self-repair');
let pair: Awaited<ReturnType<typeof makePair>>;
let branch: Site;
let manifest: Digest;
let disk: Buffer;
let told: FoundDamage[] = [];

before(async () => {
  pair = await makePair(root);
  branch = pair.branch;
  disk = await makeDisk(join(root, 'disk.raw'), 6_000_000);
  for (let at = 9_000_000; at < 11_500_000; at += 64) disk.write(`line ${at} of a text that compresses quite well\n`.padEnd(64), at);
  await writeFile(join(root, 'disk.raw'), disk);
  manifest = (await importDisk(pair.hq, join(root, 'disk.raw'))).manifest;
  assert.equal((await runOnce(branch, { trigger: 'command' })).state, 'done');
  branch.store.onDamage((found) => told.push(found));
});
after(async () => {
  await branch.close();
  await pair.close();
});

type Frame = { readonly path: string; readonly at: number; readonly headerBytes: number; readonly end: number; readonly isPages: boolean };

async function framesOf(site: Site): Promise<Frame[]> {
  const directory = join(site.dataDir, 'store', 'packs');
  const frames: Frame[] = [];
  for (const name of (await readdir(directory)).filter((file) => file.endsWith('.pack'))) {
    const octets = await readFile(join(directory, name));
    for (let at = 0; at < octets.length; ) {
      const { headerBytes, payloadBytes, chunks } = parseFrameHeader(octets.subarray(at));
      const end = at + headerBytes + payloadBytes;
      frames.push({ path: join(directory, name), at, headerBytes, end, isPages: chunks.some(({ digest }) => digest === manifest) });
      at = end;
    }
  }
  return frames;
}

async function exported(): Promise<Buffer> {
  const path = join(root, 'export.raw');
  await branch.store.exportDisk(manifest, path);
  return readFile(path);
}

const KINDS = ['payload', 'header', 'pages', 'payload'] as const;

/** A bit of a frame of that kind, anywhere in it. */
async function pickBit(kind: (typeof KINDS)[number], next: (limit: number) => number): Promise<{ path: string; bit: number }> {
  const frames = (await framesOf(branch)).filter(({ isPages }) => kind === 'header' || isPages === (kind === 'pages'));
  const frame = frames[next(frames.length)] ?? assert.fail();
  const [start, end] = kind === 'header' ? [frame.at, frame.at + frame.headerBytes] : [frame.at + frame.headerBytes, frame.end];
  return { path: frame.path, bit: (start + next(end - start)) * 8 + next(8) };
}

/** Flips a bit in the payload of a frame of data. */
async function hurt(site: Site, seed: number): Promise<void> {
  const next = random(seed);
  const frames = (await framesOf(site)).filter(({ isPages }) => !isPages);
  const frame = frames[next(frames.length)] ?? assert.fail();
  await flipBit(frame.path, (frame.at + frame.headerBytes + next(frame.end - frame.at - frame.headerBytes)) * 8);
}

const kindsOf = async (site: Site) => (await listEvents(site.db, { limit: 1000 })).map(({ kind }) => kind);

const rawBytes = async (digests: readonly Digest[]): Promise<number> => {
  const lengths = await Promise.all(
    digests.map(async (digest) => (await readAll(await pair.hq.store.readFrames([digest]), digest)).length),
  );
  return lengths.reduce((sum, length) => sum + length, 0);
};

/** What the frame that holds a chunk says of its length. */
async function readAll(stream: ReadableStream<Uint8Array>, digest: Digest): Promise<{ length: number }> {
  const slices: Uint8Array[] = [];
  for await (const slice of stream) slices.push(slice);
  return parseFrameHeader(Buffer.concat(slices)).chunks.find((chunk) => chunk.digest === digest) ?? assert.fail();
}

test('every flipped bit in a pack is found before the content is used, and healed by fetching what it cost and nothing else', async (t) => {
  const next = random(SEED);
  let [found, refused, refetched, bytes, lostBytes] = [0, 0, 0, 0, 0];
  for (let n = 0; n < FLIPS; n++) {
    const { path, bit } = await pickBit(KINDS[n % KINDS.length] ?? 'payload', next);
    told = [];
    await flipBit(path, bit);
    const words = `flip ${n} at bit ${bit} of ${path} (seed ${SEED})`;
    // One in four is met by somebody who wants the content, not by a check: it is told, not given.
    if (n % KINDS.length === KINDS.length - 1) {
      await assert.rejects(exported(), { code: 'corrupt' }, `${words} was exported`);
      refused += 1;
    }
    const report = await branch.store.verifyImage(manifest);
    assert.ok(
      told.some(({ damages }) => damages.length > 0),
      `${words} was not found`,
    );
    found += 1;
    const lost = (await findHurtImages(branch)).flatMap(({ digests }) => digests);
    assert.equal(report.damages.length > 0, lost.length > 0, words);
    if (lost.length === 0) continue;
    const healing = await healStore(branch, fetchHere);
    assert.deepEqual([healing.words, healing.hurt, healing.healed >= lost.length], [null, [], true], words);
    const [run = assert.fail()] = await listRuns(branch.db, { limit: 1 });
    const wanted = parsePlan(await getPlan(branch.db, run.id))?.wantChunks ?? [];
    const asked = await rawBytes(wanted);
    assert.equal(run.trigger, 'repair');
    assert.deepEqual(
      wanted.filter((digest) => !lost.includes(digest)),
      [],
      `${words}: more was fetched than the damaged frame held`,
    );
    assert.ok(run.bytesReceived <= asked + OVERHEAD_BYTES, `${words}: ${run.bytesReceived} bytes for chunks of ${asked}`);
    refetched += 1;
    bytes += run.bytesReceived;
    lostBytes += asked;
  }
  assert.ok(disk.equals(await exported()));
  assert.deepEqual((await branch.store.check()).damages, []);
  t.diagnostic(
    `${found} of ${FLIPS} flips found, ${refused} of them by an export that was refused; ${FLIPS - refetched} healed from what is here, ${refetched} fetched: ${bytes} bytes for chunks of ${lostBytes}`,
  );
});

/** Flips a bit of a row that counts: a digest also lies in pages that SQLite no longer uses. */
async function flipRow(path: string, next: (limit: number) => number): Promise<void> {
  const octets = await readFile(path);
  const before = rowsOf(path);
  const [frame = assert.fail()] = await framesOf(branch);
  const { chunks } = parseFrameHeader((await readFile(frame.path)).subarray(frame.at));
  const name = digestBytes((chunks[next(chunks.length)] ?? assert.fail()).digest);
  for (let at = octets.indexOf(name); at !== -1; at = octets.indexOf(name, at + 1)) {
    const bit = (at + next(32)) * 8 + next(8);
    await flipBit(path, bit);
    if (rowsOf(path) !== before) return;
    await flipBit(path, bit);
  }
  assert.fail('no row that counts');
}

function rowsOf(path: string): string {
  const db = new DatabaseSync(path, { readOnly: true });
  try {
    return JSON.stringify([db.prepare('SELECT hex(digest), * FROM chunks').all(), db.prepare('PRAGMA integrity_check').all()]);
  } finally {
    db.close();
  }
}

test('bits flipped in the rows of the index are found and put right, with nothing fetched', async () => {
  const next = random(SEED + 1);
  const newest = (await listRuns(branch.db, { limit: 1 }))[0]?.id;
  for (let n = 0; n < Math.ceil(FLIPS / 8); n++) {
    const path = join(branch.dataDir, 'store', 'index.sqlite');
    await branch.close();
    await flipRow(path, next);
    branch = await reopenSite(root, 'branch');
    const report = await repairStore(branch, fetchHere, () => undefined);
    assert.ok(report.found.length > 0, `flip ${n} (seed ${SEED})`);
    assert.deepEqual([report.damages, report.healed], [[], 0]);
    assert.ok(disk.equals(await exported()));
  }
  assert.equal((await listRuns(branch.db, { limit: 1 }))[0]?.id, newest);
});

test('store check --repair heals a branch with no server up and ends 0; what headquarters made itself stays damaged and ends 1', async () => {
  const data = branch.dataDir;
  await hurt(branch, 3);
  await branch.close();
  assert.equal((await runCli(['store', 'check', '--data', data])).code, 1);
  const healed = await runJson<{ clean: boolean; healed: number; found: unknown[]; damages: unknown[] }>([
    'store',
    'check',
    '--repair',
    '--data',
    data,
  ]);
  assert.equal(healed.code, 0);
  assert.deepEqual([healed.document.clean, healed.document.damages], [true, []]);
  assert.ok(healed.document.healed >= 1 && healed.document.found.length >= 1);
  assert.equal((await runCli(['store', 'check', '--repair', '--data', data])).code, 0);
  branch = await reopenSite(root, 'branch');
  const own = await makeSite(root, 'lonely');
  await importDisk(own, join(root, 'disk.raw'));
  await hurt(own, 4);
  await own.close();
  const lost = await runCli(['store', 'check', '--repair', '--data', own.dataDir]);
  assert.equal(lost.code, 1);
  assert.match(lost.stdout, /made here are damaged.*import the same image file again/);
});

test('a running branch heals by itself what any reader met, and tells which image it was', async () => {
  const serving = await startServe(branch);
  try {
    const healings = async () => (await kindsOf(branch)).filter((kind) => kind === 'image.healed').length;
    const before = await healings();
    await hurt(branch, 5);
    await branch.store.verifyImage(manifest);
    await waitUntil('it healed', async () => (await healings()) > before);
    assert.deepEqual(await findHurtImages(branch), []);
    const damaged = (await listEvents(branch.db, { limit: 1000 })).find(({ kind }) => kind === 'image.damaged');
    assert.deepEqual(damaged && (damaged.data as { reference: string }).reference, 'debian@1');
    assert.ok((await kindsOf(branch)).includes('store.damaged'));
  } finally {
    await serving.close();
  }
  assert.ok(disk.equals(await exported()));
});

test('chunks that the parent lost too stay missing with words, and are given when it has them again', async () => {
  await hurt(branch, 6);
  await branch.store.verifyImage(manifest);
  const lost = (await findHurtImages(branch)).flatMap(({ digests }) => digests);
  assert.ok(lost.length > 0);
  for (const { path, at, headerBytes, end } of (await framesOf(pair.hq)).filter(({ isPages }) => !isPages)) {
    const { chunks } = parseFrameHeader((await readFile(path)).subarray(at));
    if (chunks.some(({ digest }) => lost.includes(digest)))
      await flipBit(path, (at + headerBytes + Math.floor((end - at - headerBytes) / 2)) * 8);
  }
  await pair.hq.store.verifyImage(manifest);
  const healing = await healStore(branch, fetchHere);
  const stays = healing.hurt.flatMap(({ digests }) => digests);
  if (stays.length > 0) assert.match(healing.words?.message ?? '', /parent lacks \d+ of the \d+ damaged chunks as well/);
  const [image = assert.fail()] = await listImages(pair.hq.db);
  await pair.hq.store.importDisk({ path: join(root, 'disk.raw') });
  assert.equal(image.manifest, manifest);
  assert.deepEqual((await healStore(branch, fetchHere)).hurt, []);
  assert.ok(disk.equals(await exported()));
});

test('store check --repair of a running server heals as well, also while the server repairs by itself', async () => {
  const serving = await startServe(branch);
  try {
    await hurt(branch, 7);
    const [healed, again] = await Promise.all(
      [1, 2].map(() => runJson<{ clean: boolean }>(['store', 'check', '--repair', '--data', branch.dataDir])),
    );
    assert.deepEqual([healed?.code, again?.code], [0, 0], JSON.stringify([healed, again]));
  } finally {
    await serving.close();
  }
  assert.ok(disk.equals(await exported()));
});

test('a base chunk that is damaged is found when an archive builds on it, and both versions come out right', async () => {
  const next = Buffer.from(disk);
  for (let at = 9_000_000; at < 11_500_000; at += 20_000) next.write(`changed ${at}`, at);
  await writeFile(join(root, 'disk.raw'), next);
  const second = await importDisk(pair.hq, join(root, 'disk.raw'));
  for (const seed of [11, 12, 13, 14]) await hurt(branch, seed);
  told = [];
  branch.store.onDamage((found) => told.push(found));
  // As a server that was stopped in the middle of a repair leaves it: the run that is asked for comes behind it.
  const plan = { ...EMPTY_PLAN, want: [manifest], wantChunks: [manifest] };
  const [link = assert.fail()] = await listLinks(branch.db);
  const repair = { linkId: link.id, state: 'archive', trigger: 'repair', fencing: 0, startedAt: 1, plan } as const;
  for (const _cutShort of [1, 2]) await insertRun(branch.db, { id: newId(), ...repair });
  const run = await runOnce(branch, { trigger: 'command' });
  assert.deepEqual([run.trigger, run.state, run.error], ['command', 'done', null]);
  await branch.store.verifyImage(manifest);
  assert.ok(told.some(({ damages }) => damages.length > 0));
  assert.deepEqual((await healStore(branch, fetchHere)).hurt, []);
  assert.ok(disk.equals(await exported()));
  const path = join(root, 'second.raw');
  await branch.store.exportDisk(second.manifest, path);
  assert.ok(next.equals(await readFile(path)));
});

test('a child may not fish: a chunk of another image than it names is refused', async () => {
  const other = await makeDisk(join(root, 'other.raw'), 300_000);
  assert.ok(other.length > 0);
  const secret = await importDisk(pair.hq, join(root, 'other.raw'), 'secret');
  const wish = { want: [manifest], wantChunks: [secret.manifest] };
  const [link = assert.fail()] = await listLinks(branch.db);
  const run = await fetchHere(branch, link, wish);
  assert.deepEqual([run.state, run.error?.code, run.bytesRsync], ['failed', 'not_permitted', 0]);
});

test('while the parent is away a damaged chunk stays missing with words, and comes when it is back', async () => {
  await hurt(branch, 8);
  // The frame may be one that only the second version needs.
  for (const image of await listImages(branch.db)) await branch.store.verifyImage(image.manifest);
  assert.ok((await findHurtImages(branch)).length > 0);
  await pair.serving.close();
  const away = await healStore(branch, fetchHere);
  assert.deepEqual([away.healed, away.words?.code], [0, 'unreachable']);
  assert.ok(away.hurt.length > 0);
  const port = Number(new URL(pair.serving.httpsUrl).port);
  const back = await startServe({ ...pair.hq, config: { ...pair.hq.config, httpsPort: port } });
  try {
    assert.deepEqual((await healStore(branch, fetchHere)).hurt, []);
  } finally {
    await back.close();
  }
});
