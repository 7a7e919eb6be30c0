import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { newId } from '../../core/ids.ts';
import { listImages } from '../../server/db/images.ts';
import { putOrigin } from '../../server/db/origins.ts';
import { putReported } from '../../server/db/reported.ts';
import { revokeServer } from '../../server/servers.ts';
import { issueEnrolToken } from '../../server/trust/enrol-token.ts';
import { type Browser, startBrowser } from '../helpers/browser.ts';
import { eventually, makeNode, type Node } from '../helpers/control-sites.ts';
import { importDisk, makeDisk } from '../helpers/replication-sites.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { openPanel, type Panel, replicateNow } from './panel.ts';

const root = await temporaryDirectory('console-panel');
let hq: Node;
let branch: Node;
let browser: Browser;
let panel: Panel;

before(async () => {
  hq = await makeNode(root, 'hq');
  branch = await makeNode(root, 'branch', hq);
  await eventually(
    'the branch has reported',
    async () => (await hq.site.db('reported').where({ kind: 'server' }).first('seq')) !== undefined,
  );
  browser = await startBrowser(root);
  panel = await openPanel(browser, hq);
});
after(async () => {
  await browser.close();
  await branch.close();
  await hq.close();
});

test('the tree shows who is who and how each is, on both sides of a link', async () => {
  const { page } = panel.tab;
  await panel.row('hq').getByText('this server, master').waitFor();
  await panel.row('branch').getByText('connected', { exact: true }).waitFor();
  assert.equal(await page.getByRole('button', { name: 'All 2' }).getAttribute('aria-pressed'), 'true');
  await panel.tab.checkAccess();
  await panel.open('branch');
  await page.getByRole('region', { name: 'branch' }).getByText('slave').waitFor();
  await page.getByText('It holds none and wants none.').waitFor();
  await panel.tab.checkAccess();

  const below = await openPanel(browser, branch);
  await below.row('branch').getByText('this server').waitFor();
  await below.row('hq').getByText('master').waitFor();
  await below.row('hq').getByText('connected', { exact: true }).waitFor();
  await below.finish();
});

test('replicate now runs at the branch, and the page follows it to its end', async () => {
  await replicateNow(panel, { root, hq, branch });
  await panel.row('branch').getByText('1 of 1').waitFor({ state: 'attached' });
});

test('who is paused is said to be, by whom, and a refusal comes in words; resumed it goes on', async () => {
  const { page } = panel.tab;
  await page.getByRole('button', { name: 'Pause', exact: true }).click();
  await page.getByText('branch is paused.').waitFor();
  await page.getByRole('button', { name: 'Paused 1' }).waitFor();
  await page
    .getByRole('region', { name: 'branch' })
    .getByText(/^paused here by test/)
    .waitFor();
  await panel.tab.checkAccess();
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.getByRole('button', { name: 'Paused 0' }).waitFor();

  const below = await openPanel(browser, branch);
  await below.open('branch');
  await below.tab.page.getByRole('button', { name: 'Pause', exact: true }).click();
  await below.tab.page.getByRole('button', { name: 'Resume' }).waitFor();
  await page.getByRole('button', { name: 'Replicate now' }).click();
  await page.getByText(/is paused/).waitFor();
  await panel.tab.checkAccess();
  await below.tab.page.getByRole('button', { name: 'Resume' }).click();
  await below.tab.page.getByText('branch may go on.').waitFor();
  await below.finish();
});

test('an archive is made for the branch, fetched by the browser, sent to the branch by another and loaded there', async () => {
  const { page } = panel.tab;
  await makeDisk(join(root, 'office.raw'), 6_000_000);
  await importDisk(hq.site, join(root, 'office.raw'), 'office');
  await page.getByRole('button', { name: 'Make an archive' }).click();
  await page.getByLabel('Only these').check();
  await page.getByLabel('office@1').check();
  await panel.tab.checkAccess();
  await page.getByRole('button', { name: 'Make the archive' }).click();
  const fetched = page.waitForEvent('download');
  await page.getByRole('link', { name: 'Download' }).click();
  const download = await fetched;
  assert.match(download.suggestedFilename(), /^hq-for-branch-\d+\.rad$/);
  await download.saveAs(join(root, 'F.rad'));
  await panel.tab.checkAccess();
  await page.getByRole('button', { name: 'Close', exact: true }).press('Enter');

  const below = await openPanel(browser, branch);
  await below.open('branch');
  await below.tab.page.getByRole('button', { name: 'Load an archive' }).press('Enter');
  await below.tab.page.getByLabel('Archive file').setInputFiles(join(root, 'office.raw'));
  await below.tab.page.getByRole('button', { name: 'Load', exact: true }).click();
  await below.tab.page.getByText(/no archive file that can be loaded/).waitFor();
  await below.tab.page.getByLabel('Archive file').setInputFiles(join(root, 'F.rad'));
  await below.tab.page.getByRole('button', { name: 'Load', exact: true }).click();
  await below.tab.page.getByText('The archive is loaded.').waitFor();
  await below.tab.checkAccess();
  await below.tab.page.getByRole('button', { name: 'Close', exact: true }).press('Enter');
  await below.tab.page.getByRole('row', { name: 'office@1' }).getByText('held').waitFor();
  const office = (await listImages(branch.site.db)).find(({ name }) => name === 'office');
  assert.equal(office?.state, 'published');
  await below.finish();
});

test('a server that stands alone joins a parent from its own console', async () => {
  const store = await makeNode(root, 'store');
  const own = await openPanel(browser, store);
  const { page } = own.tab;
  await own.row('store').getByText('this server, stands alone').waitFor();
  await own.open('store');
  await page.getByRole('button', { name: 'Join a parent' }).click();
  await page.getByLabel('Address of the parent').fill(hq.serving?.httpsUrl ?? '');
  await page.getByLabel('Enrolment token').fill('nonsense');
  await page.getByRole('button', { name: 'Join', exact: true }).press('Enter');
  await page.getByRole('dialog').getByText('Failed:').waitFor({ state: 'attached' });
  await own.tab.checkAccess();
  await page.getByLabel('Enrolment token').fill((await issueEnrolToken(hq.site)).token);
  await page.getByRole('button', { name: 'Join', exact: true }).press('Enter');
  await page.getByText('store is a child of hq now.').waitFor();
  await own.row('hq').getByText('master').waitFor();
  await own.finish([/status of 4\d\d/]);
  await panel.row('store').waitFor();
  await store.close();
  await revokeServer(hq.site, 'store', 'test');
});

test('what servers and machines say is text, whatever it looks like', async () => {
  const { page } = panel.tab;
  const evil = '<img src=x onerror="document.title=1"><script>document.title=2</script>';
  const id = newId();
  await putOrigin(hq.site.db, { id, via: branch.site.self.id, seenAt: Date.now() });
  const at = new Date().toISOString();
  const body = {
    ...{ id, name: 'kiosk', version: '<b>0.1</b>', at, startedAt: at, disk: { freeBytes: 1, totalBytes: 2 } },
    images: [{ reference: '<u>a</u>@1', state: 'known', missingBytes: 5, error: evil }],
    ...{ run: { id, state: 'failed', percent: null, error: evil }, settings: {}, alarms: [evil] },
  };
  await putReported(hq.site.db, { origin: id, kind: 'server', subject: id, seq: 1, body, at: Date.now() });
  await panel.row('kiosk').getByText(evil).first().waitFor();
  await panel.open('kiosk');
  await page.getByText('<b>0.1</b>').waitFor();
  await page.getByText('<u>a</u>@1', { exact: true }).waitFor();
  assert.deepEqual([await page.title(), await page.locator('img[src=x]').count()], ['Waystation', 0]);
  await panel.tab.checkAccess();
});

test('the unwell come first, are counted, and are found by kind and by name; the keyboard reaches all of it', async () => {
  const { page } = panel.tab;
  await page.getByRole('button', { name: 'Close details' }).click();
  await page.getByRole('button', { name: 'Problems 1' }).press('Enter');
  const names = () => page.locator('.ws-row__link').allTextContents();
  // The way to who is picked stays: where it stands is half of what is wrong.
  assert.deepEqual(await names(), ['hq', 'branch', 'kiosk']);
  await page.getByRole('button', { name: 'Paused 0' }).click();
  await page.getByText('No server is like that.').waitFor();
  await page.getByRole('button', { name: 'All 4' }).click();
  await page.getByLabel('Name').fill('bra');
  assert.deepEqual(await names(), ['hq', 'branch']);
  await page.getByLabel('Name').fill('');
  await page.getByRole('button', { name: 'Servers below branch' }).press('Enter');
  assert.deepEqual((await names()).sort(), ['branch', 'hq', 'store']);
  await page.getByRole('button', { name: 'Servers below branch' }).press('Space');
  await panel.row('kiosk').getByRole('button', { name: 'kiosk' }).press('Enter');
  assert.equal(await page.evaluate('document.activeElement.id'), 'details-title');
  await page.getByRole('button', { name: 'Close details' }).press('Enter');
  await page.waitForFunction("document.activeElement.textContent === 'kiosk'");
});

test('who comes with the address of a server sees its details and has the focus where every page begins', async () => {
  const { page } = panel.tab;
  await panel.open('branch');
  await page.reload();
  await page.getByRole('heading', { name: 'branch', level: 2 }).waitFor();
  assert.equal(await page.evaluate('document.activeElement.tagName'), 'BODY');
  await page.getByRole('button', { name: 'Close details' }).click();
});

test('it is whole in the dark and on a telephone', async () => {
  const { page } = panel.tab;
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.setViewportSize({ width: 400, height: 800 });
  await panel.open('kiosk');
  await panel.tab.checkAccess();
  await page.getByRole('button', { name: 'Close details' }).click();
  await panel.tab.checkAccess();
  assert.ok(((await page.evaluate('document.documentElement.scrollWidth')) as number) <= 400, 'nothing sticks out');
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize({ width: 1280, height: 900 });
});

test('whatever the width, nothing sticks out and no title of a column is cut', async () => {
  const { page } = panel.tab;
  for (const width of [320, 700, 800, 1100, 1280, 1920]) {
    await page.setViewportSize({ width, height: 900 });
    // The browser says that it is done before the page has its new width.
    await page.waitForFunction(`innerWidth === ${width}`);
    for (const isOpen of [false, true]) {
      if (isOpen) {
        await panel.open('kiosk');
        // What it holds is asked for when the details are open.
        await page.getByRole('columnheader', { name: 'Held' }).waitFor();
      }
      const out = "[...document.querySelectorAll('body *')].filter((one) => one.getBoundingClientRect().right > innerWidth)";
      const isWide = ((await page.evaluate('document.documentElement.scrollWidth')) as number) > width;
      assert.deepEqual(isWide ? await page.evaluate(`${out}.map(({ outerHTML }) => outerHTML.slice(0, 200))`) : [], [], `at ${width}`);
      const cut =
        "[...document.querySelectorAll('.ws-table thead th')].filter((one) => one.offsetWidth > 0 && one.scrollWidth > one.clientWidth)";
      assert.deepEqual(await page.evaluate(`${cut}.map(({ textContent }) => textContent)`), [], `at ${width}, ${isOpen}`);
      if (isOpen) await page.getByRole('button', { name: 'Close details' }).click();
    }
  }
  await page.setViewportSize({ width: 1280, height: 900 });
});

test('a server that is away is said to be, and what was known stays', async () => {
  const { page } = panel.tab;
  await page.route('**/api/v1/tree', (route) => route.abort());
  await page.getByText('The server does not answer.').waitFor();
  await panel.row('kiosk').waitFor();
  await panel.tab.checkAccess();
  await page.unroute('**/api/v1/tree');
  await page.getByText('The server does not answer.').waitFor({ state: 'detached' });
});

test('the page asked nobody but its server, and the browser had nothing to complain of', async () => {
  await panel.finish([/ERR_FAILED/, /status of 409/]);
});
