import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { Locator } from 'playwright-core';
import { newId } from '../../core/ids.ts';
import { cookieName } from '../../server/api/session.ts';
import { hashToken } from '../../server/api/token.ts';
import { listImages } from '../../server/db/images.ts';
import { createOperatorToken } from '../../server/db/operator-tokens.ts';
import type { Browser, Tab } from '../helpers/browser.ts';
import type { Node } from '../helpers/control-sites.ts';
import { importDisk, makeDisk } from '../helpers/replication-sites.ts';

/** The console of one server, signed in as its administrator. */
export type Panel = {
  readonly tab: Tab;
  row(server: string): Locator;
  /** Shows the details of a server. */
  open(server: string): Promise<void>;
  /** Closes it; throws when it asked somebody else than its server, or the browser complained of more than `expected`. */
  finish(expected?: readonly RegExp[]): Promise<void>;
};

export async function openPanel(browser: Browser, { site, serving }: Node): Promise<Panel> {
  const url = serving?.httpsUrl ?? '';
  const token = `wst_${newId().replaceAll('-', '')}${newId().replaceAll('-', '')}`;
  const row = { id: newId(), name: 'test', hash: hashToken(token), role: 'administrator', createdAt: site.now(), expiresAt: null } as const;
  await createOperatorToken(site.db, row);
  // Who signed in before is forgotten: every panel goes the whole way.
  await browser.context.clearCookies({ name: cookieName(site.self.id) });
  const tab = await browser.open(url);
  const { page } = tab;
  await page.getByLabel('Operator token').fill(token);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Servers', level: 1 }).waitFor();
  const rowOf = (server: string) => page.locator('.ws-row').filter({ has: page.getByRole('button', { name: server, exact: true }) });
  return {
    tab,
    row: rowOf,
    open: async (server) => {
      await rowOf(server).getByRole('button', { name: server, exact: true }).click();
      await page.getByRole('heading', { name: server, level: 2 }).waitFor();
    },
    finish: async (expected = []) => {
      const complaints = tab.complaints.filter((words) => ![/status of 401/, ...expected].some((pattern) => pattern.test(words)));
      assert.deepEqual(complaints, []);
      assert.deepEqual(
        tab.asked.filter((asked) => !asked.startsWith(`${url}/`)),
        [],
      );
      assert.ok(tab.asked.length > 5);
      await page.close();
    },
  };
}

/** Imports an image at hq and has the branch, whose details are shown, replicate it by its button; resolves when it holds it. */
export async function replicateNow(
  { tab: { page }, row }: Panel,
  { root, hq, branch }: { readonly root: string; readonly hq: Node; readonly branch: Node },
): Promise<void> {
  await makeDisk(join(root, 'debian.raw'), 3_000_000);
  await importDisk(hq.site, join(root, 'debian.raw'));
  await page.getByRole('button', { name: 'Replicate now' }).click();
  await page.getByText('branch has begun a run.').waitFor();
  await row('branch').getByText('complete').waitFor();
  await page.getByRole('row', { name: 'debian@1' }).getByText('held').waitFor();
  assert.ok((await listImages(branch.site.db)).every(({ state }) => state === 'published'));
}
