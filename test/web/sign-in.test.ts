import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { listOperatorTokens, revokeOperatorToken } from '../../server/db/operator-tokens.ts';
import { type Browser, startBrowser } from '../helpers/browser.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { serveTestSite } from '../server/api/site.ts';

const root = await temporaryDirectory('console-sign-in');
let hq: Awaited<ReturnType<typeof serveTestSite>>;
let browser: Browser;

before(async () => {
  hq = await serveTestSite();
  browser = await startBrowser(root);
});
after(async () => {
  await browser.close();
  await hq.close();
});

test('who has no right token stays out and is told why; who has one is in until the token is revoked', async () => {
  const tab = await browser.open(hq.serving.httpsUrl);
  const { page } = tab;
  const token = page.getByLabel('Operator token');
  const enter = async (text: string) => {
    await token.fill(text);
    await page.getByRole('button', { name: 'Sign in' }).click();
  };
  await token.waitFor();
  await tab.checkAccess();
  await enter(`wst_${'A'.repeat(43)}`);
  await page.getByText('this server does not know the operator token').waitFor();
  await tab.checkAccess();
  await enter(hq.operatorToken);
  await page.getByRole('heading', { name: 'Servers', level: 1 }).waitFor();
  assert.equal(
    await page.evaluate('document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + location.href'),
    `{}{}${hq.serving.httpsUrl}/console/`,
  );
  await page.reload();
  await page.getByRole('heading', { name: 'Servers', level: 1 }).waitFor();

  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByText('You are signed out.').waitFor();
  await page.reload();
  await token.waitFor();

  await enter(hq.operatorToken);
  await page.getByRole('heading', { name: 'Servers', level: 1 }).waitFor();
  for (const { id } of await listOperatorTokens(hq.site.db)) await revokeOperatorToken(hq.site.db, id, hq.site.now());
  await page.getByText('You are signed out: the operator token was revoked.').waitFor();
  await tab.checkAccess();
  await enter(hq.operatorToken);
  await page.getByText('Failed: the operator token was revoked').waitFor();

  const policy = tab.complaints.filter((words) => !/status of 401/.test(words));
  assert.deepEqual(policy, [], 'the browser has nothing to complain of');
  assert.deepEqual(
    tab.asked.filter((url) => !url.startsWith(hq.serving.httpsUrl)),
    [],
    'nobody else was asked',
  );
});
