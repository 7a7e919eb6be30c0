import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import type { Knex } from 'knex';
import { listServers } from '../../server/db/servers.ts';
import { takeNumbers } from '../../server/db/shared/counters.ts';
import { viewServers } from '../../server/panel/server-views.ts';
import { readServerTree } from '../../server/panel/tree.ts';
import { setParent } from '../../server/shared/parents.ts';
import { type Browser, startBrowser } from '../helpers/browser.ts';
import { eventually, makeNode, type Node } from '../helpers/control-sites.ts';
import { type Meeting, startMeeting } from '../helpers/meeting.ts';
import { makeSite } from '../helpers/replication-sites.ts';
import { runCli } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { openPanel, type Panel, replicateNow } from './panel.ts';

const root = await temporaryDirectory('console-meeting');
const NO_RIGHTS = { mayReplicate: false, mayWriteServers: false, mayMakeArchives: false, mayLoad: false };
let meeting: Meeting;
let hq: Node;
let branch: Node;
let browser: Browser;
let panel: Panel;

before(async () => {
  meeting = await startMeeting(root);
  const flags = { database: meeting.database };
  hq = await makeNode(root, 'hq', undefined, { flags });
  branch = await makeNode(root, 'branch', undefined, { flags });
  for (const { site } of [hq, branch]) await eventually('they have met', async () => (await site.db('peers').first()) !== undefined);
  browser = await startBrowser(root);
  panel = await openPanel(browser, hq);
});
after(async () => {
  await browser?.close();
  for (const node of [branch, hq]) await node?.close();
  await meeting?.mariadb.stop();
});

const dialog = () => panel.tab.page.getByRole('dialog');
const fact = (name: string) =>
  panel.tab.page
    .locator('.ws-facts dt')
    .filter({ hasText: new RegExp(`^${name}$`) })
    .locator('+ dd');
const parentsOfBranch = async () =>
  (await listServers(branch.site.db)).filter(({ relation }) => relation === 'parent').map(({ name }) => name);

test('servers that only meet in the database stand side by side, and both can get a parent', async () => {
  const { page } = panel.tab;
  await panel.row('hq').getByText('this server, stands alone').waitFor();
  await panel.row('branch').getByText('stands alone').waitFor();
  await panel
    .row('branch')
    .getByText(/^heard/)
    .waitFor();
  await panel.open('branch');
  await page.getByRole('button', { name: 'Assign a parent' }).click();
  assert.deepEqual(await dialog().getByRole('option').allTextContents(), ['none', 'hq']);
  await panel.tab.checkAccess();
  await dialog().getByRole('button', { name: 'Cancel' }).click();
});

test('a circle is refused in the dialog, in words, also when somebody else closed it while the dialog was open', async () => {
  const { page } = panel.tab;
  await panel.open('hq');
  await page.getByRole('button', { name: 'Assign a parent' }).click();
  await dialog().getByLabel('Parent').selectOption('branch');
  await setParent(hq.site, { server: 'branch', parent: 'hq', actor: 'test' });
  await panel.row('hq').getByText('this server, master').waitFor({ state: 'attached' });
  await dialog().getByRole('button', { name: 'Assign' }).click();
  await dialog()
    .getByText(/above itself/)
    .waitFor();
  await panel.tab.checkAccess();
  await dialog().getByRole('button', { name: 'Cancel' }).click();
  await setParent(hq.site, { server: 'branch', parent: null, actor: 'test' });
  await eventually('the branch is alone again', async () => (await parentsOfBranch()).length === 0);
  await panel.row('branch').getByText('stands alone').waitFor();
});

test('a branch is put below hq in the browser; it joins by itself, and the tree shows the link', async () => {
  const { page } = panel.tab;
  await panel.open('branch');
  await page.getByRole('button', { name: 'Assign a parent' }).click();
  await dialog().getByLabel('Parent').selectOption('hq');
  await dialog().getByRole('button', { name: 'Assign' }).press('Enter');
  await page.getByText('branch is to be a child of hq.').waitFor();
  await panel.row('branch').getByText('connected', { exact: true }).waitFor({ state: 'attached' });
  await page.getByRole('button', { name: 'Servers below hq' }).waitFor();
  assert.equal(await fact('Role').textContent(), 'slave');
  assert.equal(await fact('Parent').textContent(), 'hq');
  assert.deepEqual(await parentsOfBranch(), ['hq']);
  await panel.tab.checkAccess();
});

test('replicate now brings the image of hq to the branch that was assigned', async () => {
  await replicateNow(panel, { root, hq, branch });
});

test('a parent that a file says is read-only here, and told to be', async () => {
  const { page } = panel.tab;
  await page.getByRole('button', { name: 'Assign a parent' }).click();
  await writeFile(join(root, 'tree.yaml'), 'servers:\n  - name: hq\n  - { name: branch, parent: hq }\n');
  const { code, stderr } = await runCli(['site', 'apply', join(root, 'tree.yaml'), '--data', hq.site.dataDir]);
  assert.equal(code, 0, stderr);
  await dialog().getByLabel('Parent').selectOption('none');
  await dialog().getByRole('button', { name: 'Assign' }).click();
  await dialog()
    .getByText(/is what tree\.yaml of server hq says/)
    .waitFor();
  await dialog().getByRole('button', { name: 'Cancel' }).click();
  await page.getByText('hq, as tree.yaml of server hq says').waitFor();
  await page.getByRole('button', { name: 'Assign a parent' }).waitFor({ state: 'detached' });
  await panel.tab.checkAccess();
  assert.deepEqual(await parentsOfBranch(), ['hq']);
});

test('a server that only the registry tells of has its row: never heard of, silent, retired or fenced', async () => {
  const { page } = panel.tab;
  const flags = { database: meeting.database };
  await (await makeSite(root, 'store', flags)).close();
  await panel.row('store').getByText('has not been heard of yet').waitFor();
  await panel.open('store');
  assert.deepEqual([await fact('Role').textContent(), await fact('Parent').textContent()], ['stands alone', 'none']);
  assert.match((await fact('Version').textContent()) ?? '', /^\d/);
  await setParent(hq.site, { server: 'store', parent: 'branch', actor: 'test' });
  await page.getByRole('button', { name: 'Servers below branch' }).waitFor();
  const change = async (trx: Knex.Transaction, row: object) => {
    await trx('shared_servers').where({ name: 'store' }).update(row).increment('revision', 1);
    await takeNumbers(trx, 'registry', 1);
  };
  const set = (row: object) => hq.site.shared?.write('a test', (trx) => change(trx, row), 'repeat');
  await set({ heartbeat_at: Date.now() - 300_000 });
  await panel
    .row('store')
    .getByText(/is silent in the shared database/)
    .waitFor();
  await panel.tab.checkAccess();
  for (const state of ['retired', 'fenced']) {
    await set({ state });
    await panel
      .row('store')
      .getByText(new RegExp(`^${state}: `))
      .waitFor();
    await page.getByRole('button', { name: 'Assign a parent' }).waitFor({ state: 'detached' });
    await checkSameKeys(state);
  }
});

/** The list of the command line and the page's, both of them read now, say the same of each server. */
async function checkSameKeys(state: string): Promise<void> {
  const keys = ['name', 'relation', 'state', 'role', 'parent', 'wishedParent', 'parentFile', 'heartbeatAt', 'silent', 'version'] as const;
  const pick = (server: object) => keys.map((key) => [key, (server as Record<string, unknown>)[key]]);
  const byName = (one: { name: string }, other: { name: string }) => (one.name < other.name ? -1 : 1);
  await eventually('both are read between two heartbeats', async () => {
    const list = (await viewServers(hq.site)).toSorted(byName).map(pick);
    const tree = (await readServerTree(hq.site, NO_RIGHTS)).items.toSorted(byName).map(pick);
    assert.equal((list.at(-1) as [string, unknown][])[2]?.[1], state);
    return isDeepStrictEqual(list, tree);
  });
}

test('the page asked nobody but its server, and the browser complained of the refusals alone', async () => {
  await panel.finish([/status of 4(09|03)/]);
});
