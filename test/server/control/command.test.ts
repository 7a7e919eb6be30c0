import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import type { Json } from '../../../core/canonical-json.ts';
import { parseMac, parseName } from '../../../core/ids.ts';
import { addTarget } from '../../../server/targets.ts';
import { eventually, makeNode, type Node, replicate } from '../../helpers/control-sites.ts';
import { importDisk, makeDisk } from '../../helpers/replication-sites.ts';
import { runCli, runJson } from '../../helpers/run-cli.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';

const root = await temporaryDirectory('control-command');
let hq: Node;
let branch: Node;

before(async () => {
  hq = await makeNode(root, 'hq');
  branch = await makeNode(root, 'branch', hq);
  await makeDisk(join(root, 'disk.raw'), 50_000);
  await importDisk(hq.site, join(root, 'disk.raw'));
  await importDisk(branch.site, join(root, 'disk.raw'), 'golden');
  await replicate(branch);
});
after(async () => {
  await branch.close();
  await hq.close();
});

type Answer = { [key: string]: Json } & { items: { [key: string]: Json }[] };
const at = (node: Node, ...words: string[]) => runJson<Answer>(['--data', node.site.dataDir, ...words]);
const done = async (node: Node, ...words: string[]) => {
  const { code, document } = await at(node, ...words);
  assert.equal(code, 0, `${words.join(' ')}: ${JSON.stringify(document)}`);
  return document;
};

const wordsIn = ({ error }: Answer) => (error as { message: string }).message;

test('a machine of a branch is written down, grouped, ordered and stopped from the command line of headquarters', async () => {
  const added = await done(hq, 'target', 'add', 'till', '--mac', '52:54:00:00:00:01', '--server', 'branch');
  assert.equal(added['server'], 'branch');
  await eventually('the branch has it', async () => (await at(branch, 'target', 'show', 'till')).code === 0);
  assert.deepEqual(
    (await done(hq, 'target', 'group', 'shop', 'till')).items.map(({ name, group }) => [name, group]),
    [['till', 'shop']],
  );
  await eventually('its group is told', async () => (await done(hq, 'target', 'show', 'till'))['group'] === 'shop');
  const order = await done(hq, 'order', 'create', '--target', 'till', '--image', 'debian');
  const id = String(order['id']);
  await eventually('it is active', async () => (await done(hq, 'order', 'show', id))['state'] === 'activated');
  const orderOf = async () => ((await done(hq, 'target', 'show', 'till'))['order'] as { state: string } | null)?.state;
  await eventually('its target shows it at headquarters too', async () => (await orderOf()) === 'activated');
  assert.deepEqual(
    (await done(hq, 'order', 'list')).items.map(({ id: listed, server }) => [listed, server]),
    [[id, 'branch']],
  );
  await done(hq, 'order', 'stop', id, '--yes');
  await eventually('it is stopped', async () => (await done(hq, 'order', 'show', id))['state'] === 'stopped');
  const text = await runCli(['--data', hq.site.dataDir, 'order', 'list']);
  assert.match(text.stdout, /stopped +till +debian@1 +branch/);
  assert.match((await runCli(['--data', hq.site.dataDir, 'target', 'list'])).stdout, /till .* branch +shop/);
  assert.equal((await at(hq, 'target', 'add', 'x', '--mac', '52:54:00:00:00:09', '--server', 'nowhere')).code, 66);
});

test('a machine that the branch has already is refused at headquarters, and what the branch refuses does not stay', async () => {
  const nameTaken = await at(hq, 'target', 'add', 'till', '--mac', '52:54:00:00:00:02', '--server', 'branch');
  assert.deepEqual([nameTaken.code, wordsIn(nameTaken.document)], [65, 'server branch has a target "till" already']);
  const macTaken = await at(hq, 'target', 'add', 'till-2', '--mac', '52-54-00-00-00-01', '--server', 'branch');
  assert.deepEqual([macTaken.code, wordsIn(macTaken.document)], [65, 'server branch knows this machine as "till" already']);
  // What headquarters cannot know yet: the branch decides, and what was shown as on its way is gone with its answer.
  await branch.stop();
  await addTarget(branch.site, { name: parseName('bench'), macs: [parseMac('52:54:00:00:00:04')] }, 'test');
  await done(hq, 'target', 'add', 'bench', '--mac', '52:54:00:00:00:03', '--server', 'branch');
  await branch.start();
  // The refusal and what the branch has instead come by two ways.
  const machines = [
    ['bench', ['52:54:00:00:00:04']],
    ['till', ['52:54:00:00:00:01']],
  ];
  await eventually('the refusal is told, and the machine that was there', async () => {
    const { items } = await done(hq, 'target', 'list');
    const isOnItsWay = items.some(({ activity }) => activity === 'on its way to its server');
    return !isOnItsWay && isDeepStrictEqual(items.map(({ name, macs }) => [name, macs]).sort(), machines);
  });
  assert.match((await runCli(['--data', hq.site.dataDir, 'logs'])).stdout, /warn .*refused.*target\.add.*"bench" belongs/);
});

test('a branch shows its state, takes a policy and gives its log to headquarters', async () => {
  const shown = await eventually('it has reported', async () => {
    const { document } = await at(hq, 'server', 'show', 'branch');
    return document['status'] !== null && document;
  });
  assert.equal((shown['status'] as { name: string }).name, 'branch');
  assert.equal((await done(hq, 'server', 'set', 'branch', 'approve=operator'))['note'], 'on its way to server branch');
  await eventually('it cannot be changed there', async () => (await at(branch, 'server', 'set', 'branch', 'approve=auto')).code === 77);
  assert.equal((await at(hq, 'server', 'set', 'branch', 'approve=maybe')).code, 64);
  assert.ok((await done(hq, 'logs', '--server', 'branch', '--since', '1h', '--lines', '20')).items.length > 0);
  assert.match((await runCli(['--data', hq.site.dataDir, 'server', 'list'])).stdout, /branch +slave +hq +child +active/);
  await eventually('it is shown', async () =>
    /approve: +operator \(hq\)/.test((await runCli(['--data', hq.site.dataDir, 'server', 'show', 'branch'])).stdout),
  );
});

test('an image is offered at the branch and approved at headquarters from the command line', async () => {
  assert.equal((await done(branch, 'image', 'offer', 'golden'))['state'], 'offered');
  await eventually('it is seen', async () => (await done(hq, 'image', 'offers')).items.length === 1);
  assert.equal((await done(hq, 'image', 'approve', 'golden@1'))['state'], 'approved');
  await eventually('it is there', async () => (await at(hq, 'image', 'show', 'golden')).code === 0);
  assert.match((await runCli(['--data', branch.site.dataDir, 'image', 'offers'])).stdout, /golden@1 +branch +(approved|published)/);
  assert.equal((await at(hq, 'image', 'refuse', 'golden@1', '--words', 'late')).code, 65);
});

type Site = {
  server: string;
  syncedAt: string | null;
  trouble: string | null;
  unheard: number;
  images: { reference: string; verifiedAt?: string }[];
};

test('headquarters sees at once that a branch is in sync, what it has not asked for yet, and image by image what it holds', async () => {
  await replicate(branch);
  const sites = async () => (await done(hq, 'sync', 'sites')).items as unknown as Site[];
  const [told] = await eventually('it is told', async () => {
    const found = await sites();
    return found[0]?.syncedAt != null && found[0].unheard === 0 && found;
  });
  assert.ok(Date.now() - Date.parse(told?.syncedAt ?? '') < 60_000, told?.syncedAt ?? 'never');
  await makeDisk(join(root, 'new.raw'), 50_000);
  await importDisk(hq.site, join(root, 'new.raw'), 'fresh');
  assert.equal((await sites())[0]?.unheard, 1);
  const text = async (...words: string[]) => (await runCli(['--data', hq.site.dataDir, 'sync', 'sites', ...words])).stdout;
  assert.match(await text(), /branch .* 2 of 3 +0 B +-/);
  const shown = await text('branch');
  assert.match(shown, /fresh@1 +not asked for yet/);
  assert.match(shown, /golden@1 +published +active +20\d\d-/);
  assert.equal((await at(hq, 'sync', 'sites', 'nowhere')).code, 66);
});

test('the list of images says what each is for at its site', async () => {
  await done(branch, 'image', 'pin', 'debian@1');
  const { stdout } = await runCli(['--data', branch.site.dataDir, 'image', 'list']);
  assert.match(stdout, /debian +1 +disk +amd64 +published +active \(pinned\)/);
  assert.match(
    (await runCli(['--data', branch.site.dataDir, 'image', 'show', 'debian'])).stdout,
    /^use: +active \(pinned\)[\s\S]*^made: +by server hq$/m,
  );
  await done(branch, 'image', 'unpin', 'debian');
});
