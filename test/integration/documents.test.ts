import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { DocumentView } from '../../server/api/routes/documents.ts';
import { listEvents } from '../../server/db/events.ts';
import { listImages } from '../../server/db/images.ts';
import { documentsInForce } from '../../server/documents.ts';
import { runOnce } from '../../server/replication.ts';
import { type Serving, startServe } from '../../server/serve.ts';
import type { Site } from '../../server/site.ts';
import { importDisk, makeDisk, makePair } from '../helpers/replication-sites.ts';
import { runCli, runJson } from '../helpers/run-cli.ts';
import { runWhileServing } from '../helpers/served-run.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

const root = await temporaryDirectory('documents');
let pair: Awaited<ReturnType<typeof makePair>>;
/** From the first command at the branch on. */
let branchServing: Serving | undefined;

before(async () => {
  pair = await makePair(root);
});
after(async () => {
  await branchServing?.close();
  await pair.close();
});

const at = (name: string, ...words: string[]) => ['--data', join(root, name), 'document', ...words];
const run = (site: Site) => (branchServing === undefined ? runOnce(site, { trigger: 'command' }) : runWhileServing(site));
const names = async (site: Site) => (await documentsInForce(site)).map(({ type, name }) => `${type} ${name}`);

test('a document made at the command line is listed, shown, changed and deleted there', async () => {
  const made = await runJson<DocumentView>(at('hq', 'set', 'parameter', 'ntp', '--value', '10.0.0.1'));
  assert.deepEqual([made.code, made.document.revision, made.document.local], [0, 1, true]);
  const changed = await runJson<DocumentView>(at('hq', 'set', 'parameter', 'ntp', '--value', '10.0.0.2'));
  assert.deepEqual([changed.document.id, changed.document.revision], [made.document.id, 2]);
  const shown = await runJson<DocumentView>(at('hq', 'show', 'parameter', 'ntp'));
  assert.deepEqual(shown.document.content, { value: '10.0.0.2' });
  assert.match((await runCli(at('hq', 'list'))).stdout, /parameter +ntp +yes +10\.0\.0\.2/);
  assert.equal((await runCli(at('hq', 'delete', 'parameter', 'ntp'))).code, 64, 'nobody can be asked');
  assert.equal((await runCli(at('hq', 'delete', 'parameter', 'ntp', '--yes'))).code, 0);
  assert.equal((await runCli(at('hq', 'show', 'parameter', 'ntp'))).code, 66);
  const kinds = (await listEvents(pair.hq.db, { subject: made.document.id })).map(({ kind }) => kind);
  assert.deepEqual(kinds, ['document.set', 'document.set', 'document.deleted']);
});

test('content that is not of the type, a secret name and a type that there is not are refused with 64', async () => {
  for (const words of [
    ['menu', 'rescue', '--value', 'x'],
    ['parameter', 'root-password', '--value', 'x'],
    ['profile', 'x', '--value', 'x'],
    ['parameter', 'x'],
    ['parameter', 'x', '--file', join(root, 'nothing.json')],
  ]) {
    assert.equal((await runCli(at('hq', 'set', ...words))).code, 64, words.join(' '));
  }
});

test('documents and images of one generation become visible at the branch in one step', async () => {
  const entry = { title: 'Rescue', boot: { kind: 'chain', location: '{{waystation.http}}/x' } };
  await writeFile(join(root, 'rescue.json'), JSON.stringify(entry));
  assert.equal((await runCli(at('hq', 'set', 'menu', 'rescue', '--file', join(root, 'rescue.json')))).code, 0);
  await makeDisk(join(root, 'disk.raw'), 1_000_000);
  await importDisk(pair.hq, join(root, 'disk.raw'));
  const crowded: Site = { ...pair.branch, config: { ...pair.branch.config, storeReserveBytes: Number.MAX_SAFE_INTEGER } };
  const paused = await run(crowded);
  assert.deepEqual([paused.state, paused.error?.code], ['diff', 'disk_full']);
  assert.deepEqual([await names(pair.branch), await listImages(pair.branch.db)], [[], []], 'the image has no room, so nothing is there');
  assert.equal((await run(pair.branch)).state, 'done');
  assert.deepEqual(await names(pair.branch), ['menu rescue']);
  assert.equal((await listImages(pair.branch.db)).length, 1);
});

test('a copy is neither changed nor deleted at the branch, by API or command: refused with 77, naming its owner', async () => {
  branchServing = await startServe(pair.branch);
  const owner = new RegExp(`menu rescue belongs to server hq \\(${pair.hq.self.id}\\) and is a copy here`);
  for (const words of [
    ['set', 'menu', 'rescue', '--file', join(root, 'rescue.json')],
    ['delete', 'menu', 'rescue', '--yes'],
  ]) {
    const refused = await runCli(at('branch', ...words));
    assert.equal(refused.code, 77, words.join(' '));
    assert.match(refused.stderr, owner);
  }
  const shown = await runJson<{ local: boolean }>(['--data', join(root, 'branch'), 'image', 'show', 'debian']);
  assert.equal(shown.document.local, false);
  const image = await runCli(['--data', join(root, 'branch'), 'image', 'delete', 'debian', '--yes']);
  assert.equal(image.code, 77);
  assert.match(image.stderr, new RegExp(`image debian@1 belongs to server hq \\(${pair.hq.self.id}\\)`));
  assert.deepEqual(await names(pair.branch), ['menu rescue']);
});

test("a document that the branch made is local and no parent's document takes its place", async () => {
  assert.equal((await runCli(at('branch', 'set', 'parameter', 'mirror', '--value', 'http://branch'))).code, 0);
  assert.equal((await runCli(at('hq', 'set', 'parameter', 'mirror', '--value', 'http://hq'))).code, 0);
  assert.equal((await run(pair.branch)).state, 'done');
  const { document } = await runJson<DocumentView>(at('branch', 'show', 'parameter', 'mirror'));
  assert.deepEqual([document.local, document.content], [true, { value: 'http://branch' }]);
  const told = (await listEvents(pair.branch.db, { limit: 1000 })).filter(({ kind }) => kind === 'document.shadowed');
  assert.equal(told.length, 1);
  assert.match(String(told[0]?.data['words']), /^parameter mirror of server hq \(\S+\) does nothing here: the one made here counts$/);
  assert.equal((await run(pair.branch)).state, 'done');
  assert.equal((await listEvents(pair.branch.db, { limit: 1000 })).filter(({ kind }) => kind === 'document.shadowed').length, 1);
});

test('a deletion reaches the branch', async () => {
  assert.equal((await runCli(at('hq', 'delete', 'menu', 'rescue', '--yes'))).code, 0);
  assert.equal((await run(pair.branch)).state, 'done');
  assert.deepEqual(await names(pair.branch), ['parameter mirror']);
});

test('two that make one document at the same time make one document', async () => {
  const set = (n: number) => runCli(at('hq', 'set', 'parameter', 'same', '--value', String(n)));
  const codes = await Promise.all([1, 2, 3, 4].map(set));
  assert.deepEqual(
    codes.map(({ code }) => code),
    [0, 0, 0, 0],
  );
  const rows = await pair.hq.db('objects').where({ kind: 'document', deleted: false }).whereLike('body', '%"same"%');
  assert.equal(rows.length, 1);
  assert.equal(Number(rows[0].revision), 4);
});
