import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { type BrowserContext, chromium, type Page } from 'playwright-core';

/** Debian's own; nothing is downloaded. QUIC and background services would ask others than the server under test. */
const CHROMIUM = '/usr/bin/chromium';
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-dev-shm-usage',
];

export type Tab = {
  readonly page: Page;
  /** What the page asked for, in order: absolute addresses. */
  readonly asked: readonly string[];
  /** What the browser complained of: errors, and what the security policy kept out. Refused sign-ins and lost servers are told there too. */
  readonly complaints: readonly string[];
  /** Throws with what axe-core finds wrong in what is shown now. */
  checkAccess(): Promise<void>;
};

export type Browser = { open(url: string): Promise<Tab>; readonly context: BrowserContext; close(): Promise<void> };

export type BrowserOptions = { readonly width?: number; readonly height?: number; readonly isDark?: boolean };

/** A browser with an empty profile below `root`. Pages come from web/dist, which is built anew when it is stale. */
export async function startBrowser(root: string, { width = 1280, height = 900, isDark = false }: BrowserOptions = {}): Promise<Browser> {
  execFileSync(process.execPath, ['script/build-console.ts'], { stdio: 'pipe' });
  const context = await chromium.launchPersistentContext(join(root, `profile-${width}-${isDark}`), {
    executablePath: CHROMIUM,
    headless: true,
    args: FLAGS,
    ignoreHTTPSErrors: true,
    viewport: { width, height },
    colorScheme: isDark ? 'dark' : 'light',
    reducedMotion: 'reduce',
    acceptDownloads: true,
  });
  // A browser on a machine that does much else at the same time.
  context.setDefaultTimeout(60_000);
  return { context, open: (url) => openTab(context, url), close: () => context.close() };
}

async function openTab(context: BrowserContext, url: string): Promise<Tab> {
  const page = await context.newPage();
  const asked: string[] = [];
  const complaints: string[] = [];
  page.on('request', (request) => asked.push(request.url()));
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  await page.goto(url);
  return { page, asked, complaints, checkAccess: () => checkAccess(page) };
}

type Violation = { readonly id: string; readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[] };

async function checkAccess(page: Page): Promise<void> {
  // Evaluated, not added as a script: the page's own policy stays as strict as it is.
  await page.evaluate(await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8'));
  const violations = (await page.evaluate('axe.run(document).then((found) => found.violations)')) as Violation[];
  if (violations.length === 0) return;
  const words = violations.map(
    ({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html}\n    ${failureSummary}`).join('\n  ')}`,
  );
  throw new Error(`axe-core:\n${words.join('\n')}`);
}
