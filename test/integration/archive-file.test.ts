import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { copyFile, mkdir, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { encodeArchiveIndex, parseArchiveHeader, parseArchiveIndex } from '../../core/archive-file.ts';
import type { Toc } from '../../core/toc.ts';
import type { CreatedArchive } from '../../server/archives/create.ts';
import type { InspectedArchive } from '../../server/archives/inspect.ts';
import { type LoadedArchive, loadArchive } from '../../server/archives/load.ts';
import { listImages } from '../../server/db/images.ts';
import { getLinkToParent } from '../../server/db/links.ts';
import { getCatalogueNumbers } from '../../server/db/objects.ts';
import type { Run } from '../../server/db/runs.ts';
import { documentsInForce, setDocument } from '../../server/documents.ts';
import { raiseEpoch } from '../../server/epoch.ts';
import { runOnce } from '../../server/replication.ts';
import { revokeServer } from '../../server/servers.ts';
import type { Site } from '../../server/site.ts';
import { parsePlan } from '../../sync/replicate/plan.ts';
import { enrolAt, importDisk, makeDisk, makePair, makeSite, reopenSite } from '../helpers/replication-sites.ts';
import { CLEAN_ENV, runCli, runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { waitUntil } from '../helpers/wait-until.ts';

const root = await temporaryDirectory('archive-file');
const MB = 1_000_000;
let pair: Awaited<ReturnType<typeof makePair>>;
let seed: Site;

before(async () => {
  pair = await makePair(root);
  seed = await makeSite(root, 'seed');
  await enrolAt(pair.hq, seed, pair.serving.httpsUrl);
  await publish('alpha');
  await publish('beta');
  await setDocument(pair.hq, { type: 'parameter', name: 'ntp', actor: 'test' }, { value: '10.0.0.1' });
});
after(async () => {
  await seed.close();
  await pair.close();
});

const at = (name: string) => join(root, name);
const run = (site: Site): Promise<Run> => runOnce(site, { trigger: 'command' });
const archive = <Document>(server: string, ...words: string[]) => runJson<Document>(['--data', at(server), 'archive', ...words]);
const heldBy = async (site: Site) => (await getLinkToParent(site.db, pair.hq.self.id))?.heldGeneration;
const states = async (site: Site) => new Map((await listImages(site.db)).map(({ name, version, state }) => [`${name}@${version}`, state]));

async function publish(name: string, site = pair.hq, bytes = MB): Promise<void> {
  await makeDisk(at(`${name}.raw`), bytes);
  await importDisk(site, at(`${name}.raw`), name);
}

/** The branch's own commands need its directory: nobody else may have it open. */
async function asCommand<Result>(work: () => Promise<Result>): Promise<Result> {
  await seed.close();
  try {
    return await work();
  } finally {
    seed = await reopenSite(root, 'seed');
  }
}

/** All that a refused file must leave alone. */
async function digestOfStore(site: Site): Promise<string> {
  const packs = join(site.dataDir, 'store', 'packs');
  const incoming = await readdir(join(site.dataDir, 'store', 'incoming')).catch(() => []);
  const sum = createHash('sha256').update(JSON.stringify(incoming));
  for (const name of (await readdir(packs)).sort()) sum.update(name).update(await readFile(join(packs, name)));
  for (const table of ['objects', 'images', 'trusted_servers']) sum.update(JSON.stringify(await site.db(table).orderBy('id')));
  sum.update(JSON.stringify(await site.db('links').select('held_epoch', 'held_generation')));
  return sum.digest('hex');
}

test('a seed that is loaded before the server has joined is refused in words that say so', async () => {
  await archive<CreatedArchive>('hq', 'create', '--out', at('early.rad'));
  const lone = await makeSite(root, 'lone');
  await lone.close();
  const { code, document } = await runJson<{ error: { code: string; message: string; hint: string } }>([
    '--data',
    at('lone'),
    ...['archive', 'load', at('early.rad')],
  ]);
  assert.deepEqual([code, document.error.code], [77, 'bad_signature']);
  assert.match(document.error.message, /has not joined any other/);
  assert.match(document.error.hint, /first "waystation server join URL"/);
});

test('a new branch is seeded from a file with its server down, and the run after it moves no image payload', async () => {
  const made = await archive<CreatedArchive>('hq', 'create', '--out', at('seed.rad'));
  assert.equal(made.code, 0);
  assert.deepEqual([...made.document.images].sort(), ['alpha@1', 'beta@1']);
  assert.equal((await archive('hq', 'create', '--out', at('seed.rad'))).code, 64, 'nobody can be asked whether to replace it');
  const seen = await archive<InspectedArchive>('hq', 'inspect', at('seed.rad'), '--verify');
  assert.deepEqual([seen.code, seen.document.verified, seen.document.server], [0, true, pair.hq.self.id]);
  const offline = await asCommand(() => runCli(['--data', at('seed'), 'archive', 'inspect', at('seed.rad')]));
  assert.match(offline.stdout, new RegExp(`^made by: +hq \\(${pair.hq.self.id}\\)$`, 'm'));
  const elsewhere = await runJson<{ serverName: string }>(['--data', at('nobody'), 'archive', 'inspect', at('seed.rad')]);
  assert.deepEqual([elsewhere.code, elsewhere.document.serverName], [0, pair.hq.self.id]);
  const loaded = await asCommand(() => archive<LoadedArchive>('seed', 'load', at('seed.rad')));
  assert.deepEqual([loaded.code, loaded.document.held, loaded.document.taken, loaded.document.incomplete], [0, true, 3, []]);
  assert.equal(loaded.document.serverName, 'hq');
  assert.deepEqual([...(await states(seed)).values()], ['published', 'published']);
  assert.equal((await documentsInForce(seed)).length, 1);
  const topUp = await run(seed);
  assert.deepEqual([topUp.state, topUp.bytesRsync, topUp.requests], ['done', 0, 1]);
  assert.deepEqual((await seed.store.check()).damages, []);
});

test('loading a file again changes nothing', async () => {
  const before = await digestOfStore(seed);
  const again = await asCommand(() => archive<LoadedArchive>('seed', 'load', at('seed.rad')));
  assert.deepEqual([again.code, again.document.taken, again.document.held], [0, 0, true]);
  assert.equal(await digestOfStore(seed), before);
});

test('the file holds the very parts that a run of that branch fetches', async () => {
  const disk = await readFile(at('alpha.raw'));
  disk.fill(7, 1_200_000, 1_400_000);
  await writeFile(at('alpha.raw'), disk);
  await importDisk(pair.hq, at('alpha.raw'), 'alpha');
  const toc = await asCommand(() => archive<Toc>('seed', 'toc', '--out', at('seed.toc')));
  assert.equal(toc.code, 0);
  const made = await archive<CreatedArchive>('hq', 'create', '--have', at('seed.toc'), '--want', 'alpha', '--out', at('update.rad'));
  assert.ok(made.document.sizeBytes < 0.7 * MB, `${made.document.sizeBytes} bytes`);
  const done = await run(seed);
  assert.equal(done.state, 'done');
  const fetched = parsePlan(done.plan)?.archive?.parts.map(({ name }) => name);
  assert.ok((fetched?.length ?? 0) > 0);
  assert.deepEqual(made.document.parts, fetched);
});

test('a file that the link has overtaken tells nothing new and does not take the branch back', async () => {
  const held = await heldBy(seed);
  const late = await asCommand(() => archive<LoadedArchive>('seed', 'load', at('update.rad')));
  assert.deepEqual([late.code, late.document.taken, await heldBy(seed)], [0, 0, held]);
  const older = await asCommand(() => archive<LoadedArchive>('seed', 'load', at('seed.rad')));
  assert.deepEqual([older.code, older.document.taken, older.document.held, await heldBy(seed)], [0, 0, false, held]);
});

test('a file with some of the images: the rest is known, and the next run brings that and nothing else', async () => {
  const made = await archive<CreatedArchive>('hq', 'create', '--want', 'beta', 'alpha@1', '--out', at('some.rad'));
  assert.equal(made.code, 0);
  const { branch } = pair;
  const loaded = await loadArchive(branch, { path: at('some.rad'), actor: 'test' });
  assert.equal(loaded.held, true);
  assert.deepEqual(
    await states(branch),
    new Map([
      ['alpha@2', 'known'],
      ['beta@1', 'published'],
      ['alpha@1', 'published'],
    ]),
  );
  assert.equal(await heldBy(branch), (await getCatalogueNumbers(pair.hq.db)).generation);
  const done = await run(branch);
  assert.deepEqual([done.state, (await states(branch)).get('alpha@2')], ['done', 'published']);
  assert.ok(done.bytesRsync > 0 && done.bytesRsync < 0.7 * MB, `${done.bytesRsync} bytes for what was missing of alpha@2`);
});

test('a file for a server that holds more is taken as far as it goes, and the outcome is partial', async () => {
  await publish('gamma');
  const toc = JSON.parse(await readFile(at('seed.toc'), 'utf8')) as Toc;
  const [gamma] = (await listImages(pair.hq.db)).filter(({ name }) => name === 'gamma');
  assert.ok(gamma);
  const claimed = { ...toc, images: [...toc.images, { name: 'gamma', version: '1', kind: 'disk', manifest: gamma.manifest }] };
  await writeFile(at('claimed.toc'), JSON.stringify(claimed));
  assert.equal((await archive('hq', 'create', '--have', at('claimed.toc'), '--want', 'gamma', '--out', at('claimed.rad'))).code, 0);
  const loaded = await asCommand(() => archive<LoadedArchive>('seed', 'load', at('claimed.rad')));
  assert.deepEqual([loaded.code, loaded.document.incomplete], [1, [gamma.manifest]]);
  assert.equal((await states(seed)).get('gamma@1'), 'known');
  assert.equal((await run(seed)).state, 'done');
  assert.equal((await states(seed)).get('gamma@1'), 'published');
});

/** The file with another index; its header fits, so that only what the index says can be wrong. */
async function withIndex(from: string, to: string, change: (index: ReturnType<typeof parseArchiveIndex>) => unknown): Promise<void> {
  const octets = await readFile(from);
  const header = parseArchiveHeader(octets.subarray(0, 64));
  const index = parseArchiveIndex(octets.subarray(64, 64 + header.indexBytes), header);
  const changed = change(index) as Parameters<typeof encodeArchiveIndex>[0];
  await writeFile(to, Buffer.concat([encodeArchiveIndex(changed), octets.subarray(64 + header.indexBytes)]));
}

const flip = async (path: string, offset: number) => {
  const octets = await readFile(path);
  octets[offset < 0 ? octets.length + offset : offset] = (octets.at(offset) ?? 0) ^ 1;
  await writeFile(path, octets);
};

const refusals: readonly [string, string, (path: string) => Promise<unknown>][] = [
  ['cut off in a part', 'bad_data', (path) => truncate(path, 600_000)],
  ['cut off in its index', 'bad_data', (path) => truncate(path, 300)],
  ['cut off in its header', 'bad_data', (path) => truncate(path, 20)],
  ['without an octet', 'bad_data', (path) => truncate(path, 0)],
  ['longer than it declares', 'bad_data', async (path) => writeFile(path, Buffer.concat([await readFile(path), Buffer.alloc(1)]))],
  ['damaged in a part', 'bad_data', (path) => flip(path, -1000)],
  ['damaged in its index', 'bad_data', (path) => flip(path, 200)],
  ['of another format', 'version_mismatch', (path) => flip(path, 7)],
  ['of something else', 'bad_data', (path) => writeFile(path, Buffer.alloc(100_000, 'x'))],
  [
    'declaring more than there can be',
    'bad_data',
    async (path) => {
      const octets = await readFile(path);
      octets.writeBigUInt64LE(2n ** 40n, 8);
      await writeFile(path, octets);
    },
  ],
  [
    'with a part that its maker did not sign for',
    'bad_signature',
    (path) =>
      withIndex(path, path, (index) => ({
        ...index,
        archive: { ...index.archive, parts: [...index.archive.parts].map((part) => ({ ...part, rawBytes: 1 })) },
      })),
  ],
  [
    'with an object changed',
    'bad_signature',
    (path) =>
      withIndex(path, path, (index) => {
        const catalogue = index.catalogue as { objects: { body: unknown }[] };
        return { ...index, catalogue: { ...catalogue, objects: catalogue.objects.map((one) => ({ ...one, body: { name: 'x' } })) } };
      }),
  ],
  [
    'without an object that its head speaks of',
    'bad_signature',
    (path) =>
      withIndex(path, path, (index) => {
        const catalogue = index.catalogue as { objects: unknown[] };
        return { ...index, catalogue: { ...catalogue, objects: catalogue.objects.slice(1) } };
      }),
  ],
  [
    'with another age',
    'bad_signature',
    (path) =>
      withIndex(path, path, (index) => {
        const catalogue = index.catalogue as { head: object };
        return { ...index, catalogue: { ...catalogue, head: { ...catalogue.head, expiresAt: Date.now() + 1000 } } };
      }),
  ],
];

for (const [what, code, damage] of refusals) {
  test(`a file ${what} is refused as ${code} before anything counts`, async () => {
    const path = at('bad.rad');
    await copyFile(at('some.rad'), path);
    await damage(path);
    const before = await digestOfStore(seed);
    await assert.rejects(loadArchive(seed, { path, actor: 'test' }), { code });
    assert.equal(await digestOfStore(seed), before);
  });
}

test('what is no regular file is refused at once: a pipe, a device without an end, a directory', async () => {
  execFileSync('mkfifo', [at('pipe')]);
  await mkdir(at('directory'));
  for (const path of [at('pipe'), '/dev/zero', at('directory')]) {
    await assert.rejects(loadArchive(seed, { path, actor: 'test' }), { code: 'bad_data', message: /no regular file/ });
  }
  await assert.rejects(loadArchive(seed, { path: at('nothing.rad'), actor: 'test' }), { code: 'not_found' });
});

test('a file of a stranger, an expired one, and one of an epoch that is over are refused', async () => {
  const stranger = await makeSite(root, 'stranger');
  const before = await digestOfStore(seed);
  try {
    await publish('foreign', stranger, 200_000);
    await stranger.close();
    assert.equal((await archive('stranger', 'create', '--out', at('foreign.rad'))).code, 0);
    await assert.rejects(loadArchive(seed, { path: at('foreign.rad'), actor: 'test' }), { code: 'bad_signature' });
    const late: Site = { ...seed, now: () => Date.now() + 31 * 86_400_000 };
    await assert.rejects(loadArchive(late, { path: at('some.rad'), actor: 'test' }), { code: 'expired' });
    await assert.rejects(loadArchive(pair.hq, { path: at('some.rad'), actor: 'test' }), { code: 'bad_data' });
    assert.equal(await digestOfStore(seed), before);
  } finally {
    await stranger.close();
  }
  await raiseEpoch(pair.hq, 'test');
  assert.equal((await run(seed)).state, 'done');
  await assert.rejects(loadArchive(seed, { path: at('some.rad'), actor: 'test' }), { code: 'mismatch', message: /going back is refused/ });
});

test('a disk without room is said before anything is unpacked', async () => {
  await publish('delta', pair.hq, 300_000);
  assert.equal((await archive('hq', 'create', '--want', 'delta', '--out', at('delta.rad'))).code, 0);
  const crowded: Site = { ...seed, config: { ...seed.config, storeReserveBytes: Number.MAX_SAFE_INTEGER } };
  const before = await digestOfStore(seed);
  await assert.rejects(loadArchive(crowded, { path: at('delta.rad'), actor: 'test' }), { code: 'disk_full' });
  assert.equal(await digestOfStore(seed), before);
});

test('a file is held to the quota of its site like a run', async () => {
  const tight: Site = { ...seed, config: { ...seed.config, storeQuotaBytes: (await seed.store.stats()).storedBytes + 100_000 } };
  const before = await digestOfStore(seed);
  await assert.rejects(loadArchive(tight, { path: at('delta.rad'), actor: 'test' }), { code: 'disk_full', message: /quota/ });
  assert.equal(await digestOfStore(seed), before);
});

test('a file tells how its maker stood on the day it was written, not today', async () => {
  const writtenBy = Date.now();
  const late: Site = { ...seed, now: () => Date.now() + 3 * 86_400_000 };
  assert.equal((await loadArchive(late, { path: at('delta.rad'), actor: 'test' })).held, true);
  const link = (await getLinkToParent(seed.db, pair.hq.self.id)) ?? assert.fail();
  assert.ok((link.lastRunAt ?? 0) <= writtenBy, 'a branch that gets old files is not in sync today');
});

test('an image that a branch made is carried home in a file, and reaches other branches verified against its maker', async () => {
  await publish('captured', seed, 300_000);
  const made = await asCommand(() => archive<CreatedArchive>('seed', 'create', '--want', 'captured', '--out', at('home.rad')));
  assert.equal(made.code, 0);
  const home = await archive<LoadedArchive>('hq', 'load', at('home.rad'));
  assert.deepEqual([home.code, home.document.held, home.document.taken], [0, false, 1]);
  const [image] = (await listImages(pair.hq.db)).filter(({ name }) => name === 'captured');
  assert.deepEqual([image?.origin, image?.state], [seed.self.id, 'published']);
  const done = await run(pair.branch);
  assert.deepEqual([done.state, done.error, (await states(pair.branch)).get('captured@1')], ['done', null, 'published']);
  await revokeServer(pair.hq, 'seed', 'test');
  assert.equal((await archive('hq', 'load', at('home.rad'))).code, 77);
});

test('a loading that was killed in the middle is done by loading again', async () => {
  await publish('omega', pair.hq, 6 * MB);
  assert.equal((await archive('hq', 'create', '--want', 'omega', '--out', at('omega.rad'))).code, 0);
  const late = await makeSite(root, 'late');
  await enrolAt(pair.hq, late, pair.serving.httpsUrl);
  await late.close();
  const incoming = join(at('late'), 'store', 'incoming');
  const isUnpacking = async () => (await readdir(incoming).catch(() => [])).length > 0;
  const main = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
  const child = spawn(process.execPath, ['--no-warnings', main, '--data', at('late'), 'archive', 'load', at('omega.rad')], {
    env: CLEAN_ENV,
  });
  const ended = once(child, 'exit');
  await waitUntil('it unpacks', isUnpacking, { everyMs: 1, during: ended });
  child.kill('SIGKILL');
  const [code, signal] = await ended;
  assert.deepEqual([code, signal], [null, 'SIGKILL'], 'it was killed before it ended');
  const again = await archive<LoadedArchive>('late', 'load', at('omega.rad'));
  assert.deepEqual([again.code, again.document.held, again.document.incomplete], [0, true, []]);
  const site = await reopenSite(root, 'late');
  try {
    assert.equal((await states(site)).get('omega@1'), 'published');
    assert.deepEqual([(await site.store.check()).damages, await readdir(incoming)], [[], []]);
  } finally {
    await site.close();
  }
});
