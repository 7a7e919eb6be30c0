import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Finding } from '../../server/doctor/finding.ts';
import { readServerTree } from '../../server/panel/tree.ts';
import { issueEnrolToken } from '../../server/trust/enrol-token.ts';
import { eventually, makeNode, type Node } from '../helpers/control-sites.ts';
import { runCli, runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

const root = await temporaryDirectory('unscheduled');
const WORDS = /no schedule is set, so it replicates on command only/;
const NO_RIGHTS = { mayReplicate: false, mayWriteServers: false, mayMakeArchives: false, mayLoad: false };
let hq: Node;
let branch: Node;

before(async () => {
  hq = await makeNode(root, 'hq');
  branch = await makeNode(root, 'branch');
});
after(async () => {
  await branch.close();
  await hq.close();
});

const here = (...argv: string[]) => runCli(['--data', branch.site.dataDir, ...argv]);
const doctor = async () => {
  const { document } = await runJson<{ items: Finding[] }>(['--data', branch.site.dataDir, 'doctor']);
  return document.items.find(({ name }) => name === 'replication');
};
const told = async (node: Node) => {
  const { items } = await readServerTree(node.site, NO_RIGHTS);
  return items.find(({ name }) => name === 'branch')?.health.findings.find(({ words }) => WORDS.test(words));
};

async function joinHq(): Promise<string> {
  const file = join(root, 'enrol.token');
  await writeFile(file, (await issueEnrolToken(hq.site)).token, { mode: 0o600 });
  const { code, stderr } = await here('server', 'join', hq.serving?.httpsUrl ?? '', '--enrol-file', file);
  assert.equal(code, 0, stderr);
  return stderr;
}

test('a server that joins is told that nothing runs by itself, and by which command it does', async () => {
  assert.equal(await doctor(), undefined, 'who has no parent needs no schedule');
  const said = await joinHq();
  assert.match(said, WORDS);
  assert.match(said, /waystation sync schedule set "0 2 \* \* \*"/);
});

test('until there is a schedule, the status, the doctor and the console of both sides say it', async () => {
  assert.match((await here('sync', 'status')).stdout, /^schedule: +off: no schedule is set.*waystation sync schedule set/m);
  const found = await doctor();
  assert.deepEqual([found?.state, WORDS.test(found?.message ?? ''), /sync schedule set/.test(found?.hint ?? '')], ['warn', true, true]);
  assert.match((await told(branch))?.words ?? '', /set one at branch with: waystation sync schedule set/);
  assert.equal((await eventually('hq has heard of it', () => told(hq)))?.level, 'notice');
});

test('a schedule, or the parent that is followed, ends it; joining again says nothing of it', async () => {
  for (const argv of [['set', '0 2 * * *'], ['off'], ['after-parent', 'on']]) {
    assert.equal((await here('sync', 'schedule', ...argv)).code, 0);
    const isOff = argv[0] === 'off';
    assert.equal((await doctor())?.state, isOff ? 'warn' : 'ok');
    assert.equal((await told(branch)) !== undefined, isOff);
  }
  await eventually('hq knows it too', async () => (await told(hq)) === undefined);
  assert.match((await here('sync', 'status')).stdout, /^schedule: +off, and after the parent/m);
  assert.doesNotMatch(await joinHq(), WORDS);
});

test('doctor says that the link is paused, and that the last run did not come through', async () => {
  const all = async () => {
    const { document } = await runJson<{ items: Finding[] }>(['--data', branch.site.dataDir, 'doctor']);
    return document.items.filter(({ name, state }) => name === 'replication' && state === 'warn').map(({ message }) => message);
  };
  await here('sync', 'pause');
  assert.match((await all()).join(), /paused by local-admin/);
  await here('sync', 'resume');
  await hq.close();
  assert.equal((await here('sync', 'run', '--wait')).code, 69);
  assert.match((await all()).join(), /the last run failed: cannot reach 127\.0\.0\.1/);
});
