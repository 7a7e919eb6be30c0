import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { initialise } from '../../../server/initialise.ts';
import { openSite } from '../../../server/open-site.ts';
import { type Serving, startServe } from '../../../server/serve.ts';
import type { Site } from '../../../server/site.ts';

/** A real site in its own directory, with the clock in the test's hands. */
export type TestSite = { readonly site: Site; readonly operatorToken: string; readonly dataDir: string; close(): Promise<void> };

export async function openTestSite(name = 'hq', now: () => number = Date.now): Promise<TestSite> {
  const root = await mkdtemp(join(tmpdir(), 'ws-api-'));
  const dataDir = join(root, 'data');
  const env = { WAYSTATION_DATASOURCES: join(root, 'datasources.d') };
  const ports = { httpPort: 0, httpsPort: 0, tftpPort: 0 };
  const made = await initialise({ dataDir, flags: { name, ...ports }, env, now });
  const site = await openSite({ dataDir, env, now });
  const close = async () => {
    await site.close();
    await rm(root, { recursive: true });
  };
  return { site, operatorToken: made.token, dataDir, close };
}

/** The same with all listeners up. */
export async function serveTestSite(name = 'hq', now: () => number = Date.now): Promise<TestSite & { readonly serving: Serving }> {
  const opened = await openTestSite(name, now);
  try {
    const serving = await startServe(opened.site);
    const close = async () => {
      await serving.close();
      await opened.close();
    };
    return { ...opened, serving, close };
  } catch (error) {
    await opened.close();
    throw error;
  }
}
