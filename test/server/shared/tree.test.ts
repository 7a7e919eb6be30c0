import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { listPolicies } from '../../../server/control/policies.ts';
import { listLinks } from '../../../server/db/links.ts';
import { listServers } from '../../../server/db/servers.ts';
import { setParent } from '../../../server/shared/parents.ts';
import { applyTree, compareTree } from '../../../server/shared/tree.ts';
import { eventually } from '../../helpers/control-sites.ts';
import { startMeetingNodes } from '../../helpers/meeting-nodes.ts';
import { runCli } from '../../helpers/run-cli.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';

const root = await temporaryDirectory('tree');
const { meeting, nodes } = await startMeetingNodes(root, ['hq', 'branch']);
const [hq, branch] = nodes;
for (const node of [hq, branch]) await eventually('they have met', async () => (await node.site.db('peers').first()) !== undefined);

const TREE = `servers:
  - name: hq
  - name: branch
    parent: hq
    settings: { approve: operator }
    link: { schedule: '30 2 * * *', timezone: Europe/Berlin, capMbit: 5 }
`;
const file = join(root, 'tree.yaml');
const cli = (...args: string[]) => runCli([...args, '--data', hq.site.dataDir]);

test('a file that cannot be so is refused as a whole, with its lines', async () => {
  const bad = TREE.replace('name: branch', 'name: brunch')
    .replace('Europe/Berlin', 'Europe/Atlantis')
    .replace('approve: operator', 'approve: maybe');
  await assert.rejects(applyTree(hq.site, { file: 'tree.yaml', text: bad }, 'test'), (error: Error) => {
    for (const words of [/tree\.yaml:3: no server brunch/, /tree\.yaml:3: .*approve=maybe/]) assert.match(error.message, words);
    return true;
  });
  await writeFile(file, bad);
  const { code, stderr } = await cli('site', 'apply', file);
  assert.equal(code, 65, stderr);
  assert.equal((await listServers(branch.site.db)).length, 1);
});

test('a tree makes a parent, a schedule and settings; what differs is shown before, and nothing after', async () => {
  await writeFile(file, TREE);
  const dry = await cli('site', 'apply', file, '--dry-run', '--json');
  assert.equal(dry.code, 0, dry.stderr);
  const { differences } = JSON.parse(dry.stdout) as { differences: { field: string }[] };
  const fields = ['managed', 'parent', 'managed', 'settings.approve', 'link.schedule', 'link.timezone', 'link.capMbit'];
  assert.deepEqual(
    differences.map(({ field }) => field),
    fields,
  );
  assert.equal((await cli('site', 'diff', file)).code, 1);
  assert.equal((await listServers(branch.site.db)).length, 1);
  assert.equal((await cli('site', 'apply', file)).code, 0);
  const link = await eventually('the branch has its link', async () => (await listLinks(branch.site.db))[0]);
  await eventually('its schedule is the one of the file', async () => {
    const [now] = await listLinks(branch.site.db);
    return now?.schedule === '30 2 * * *' && now.timezone === 'Europe/Berlin' && now.caps.bps === 5_000_000;
  });
  assert.equal(link.parentId, hq.site.self.id);
  await eventually('its policy too', async () => (await listPolicies(branch.site))['approve']?.value === 'operator');
  const same = async () => (await compareTree(hq.site, { file: 'tree.yaml', text: TREE })).differences.length === 0;
  await eventually('nothing differs', same);
  assert.equal((await cli('site', 'diff', file)).code, 0);
});

test('what a file says is read-only elsewhere, and is told whose file it is', async () => {
  const here = (...args: string[]) => runCli([...args, '--data', branch.site.dataDir]);
  const schedule = await here('sync', 'schedule', 'set', '0 1 * * *');
  assert.equal(schedule.code, 77);
  assert.match(schedule.stderr, /schedule of this link is what tree\.yaml of server hq says/);
  assert.equal((await here('sync', 'cap', 'set', '9')).code, 77);
  assert.match((await here('server', 'set', 'branch', 'approve=auto')).stderr, /set by server hq/);
  await assert.rejects(setParent(branch.site, { server: 'branch', parent: null, actor: 'test' }), {
    code: 'not_permitted',
    message: /is what tree\.yaml of server hq says/,
  });
});

test('a file that was applied half, because its server died in the middle, is completed by applying it again', async () => {
  const forge = (by: string, of: string) =>
    meeting.mariadb.sqlBeside(`use meet; update shared_servers set parent_by = ${by}, parent_file = ${of} where name = 'branch'`);
  const isManaged = async () => (await branch.site.db('settings').where({ key: 'link.wish' }).first()) !== undefined;
  const free = 'servers:\n  - name: hq\n';
  await forge(`'operator'`, 'null');
  await applyTree(hq.site, { file: 'tree.yaml', text: free }, 'test');
  await eventually('the link is free', async () => !(await isManaged()));
  await eventually('nothing else differs', async () => {
    const { differences } = await compareTree(hq.site, { file: 'tree.yaml', text: TREE });
    return differences.every(({ field }) => field === 'managed');
  });
  await forge(`'file'`, `'tree.yaml of server hq'`);
  await applyTree(hq.site, { file: 'tree.yaml', text: TREE }, 'test');
  await eventually("the link is the file's", isManaged);
});

test('a field of a link that the file no longer names is for operators again', async () => {
  const shorter = TREE.replace(', capMbit: 5', '');
  const given = { server: 'branch', field: 'link.capMbit', is: 'by a file', wanted: 'by operators' };
  await eventually('it is told what the file holds there', async () => {
    const { differences } = await compareTree(hq.site, { file: 'tree.yaml', text: shorter });
    return isDeepStrictEqual(differences, [given]);
  });
  await applyTree(hq.site, { file: 'tree.yaml', text: shorter }, 'test');
  const same = async () => (await compareTree(hq.site, { file: 'tree.yaml', text: shorter })).differences.length === 0;
  await eventually('nothing differs', same);
  const here = (...args: string[]) => runCli([...args, '--data', branch.site.dataDir]);
  assert.equal((await here('sync', 'cap', 'set', '9')).code, 0);
  assert.equal((await here('sync', 'schedule', 'set', '0 1 * * *')).code, 77, 'what it names is not');
});

test('a ring that a file says is given by the parent, read-only there, and told in the drift', async () => {
  const withRing = (ring: string) => TREE.replace('parent: hq\n', `parent: hq\n${ring}`);
  const apply = (text: string) => applyTree(hq.site, { file: 'tree.yaml', text }, 'test');
  const ringsOf = async (text: string) =>
    (await compareTree(hq.site, { file: 'tree.yaml', text })).differences.filter(({ field }) => field.startsWith('ring'));
  await assert.rejects(apply(withRing('    ring: -1\n')), { code: 'bad_data', message: /tree\.yaml:3: ring: / });
  const text = withRing('    ring: 0\n');
  assert.deepEqual(await ringsOf(text), [{ server: 'branch', field: 'ring', is: 'by operators', wanted: '0' }]);
  await apply(text);
  const ringHere = async () => (await listServers(hq.site.db)).find(({ name }) => name === 'branch')?.ring;
  assert.equal(await ringHere(), 0);
  const refused = await cli('server', 'ring', 'branch', '2');
  assert.deepEqual([refused.code, /ring of this server is what tree\.yaml of server hq says/.test(refused.stderr)], [77, true]);
  await eventually('nothing differs', async () => (await ringsOf(text)).length === 0);
  assert.deepEqual(await ringsOf(TREE), [{ server: 'branch', field: 'ring at hq', is: 'by a file', wanted: 'by operators' }]);
  await apply(TREE);
  assert.equal((await cli('server', 'ring', 'branch', '2')).code, 0);
  assert.equal(await ringHere(), 2);
});

test('the parent may be any server: it hears which ring it gives, and gives it to a child that comes later', async () => {
  const around = 'servers:\n  - name: branch\n  - { name: hq, parent: branch, ring: 3 }\n';
  await applyTree(hq.site, { file: 'tree.yaml', text: around }, 'test');
  await eventually('hq is a child of the branch, in its ring', async () => {
    const child = (await listServers(branch.site.db)).find(({ name }) => name === 'hq');
    return child?.relation === 'child' && child.ring === 3;
  });
  const given = async () => (await compareTree(hq.site, { file: 'tree.yaml', text: TREE })).differences;
  await eventually('it tells the ring', async () => (await given()).some(({ field }) => field === 'ring at branch'));
  await applyTree(hq.site, { file: 'tree.yaml', text: TREE }, 'test');
  await eventually('and the parent again', async () => (await listServers(branch.site.db)).some(({ relation }) => relation === 'parent'));
  const rest = async () => (await compareTree(hq.site, { file: 'tree.yaml', text: TREE })).differences.length === 0;
  await eventually('the ring that it gave is told to be given back', rest);
});

test('drift is told, and who is left out of the file is free again', async () => {
  const free = 'servers:\n  - name: hq\n';
  const report = await applyTree(hq.site, { file: 'tree.yaml', text: free }, 'test');
  assert.deepEqual(report.differences, [{ server: 'branch', field: 'managed', is: 'by a file', wanted: 'by operators' }]);
  assert.equal((await setParent(branch.site, { server: 'branch', parent: null, actor: 'test' })).changed, true);
  await eventually('the link is gone', async () => (await listLinks(branch.site.db)).length === 0);
  const [first] = (await compareTree(hq.site, { file: 'tree.yaml', text: TREE })).differences;
  assert.deepEqual(first, { server: 'branch', field: 'parent', is: null, wanted: 'hq' });
});
