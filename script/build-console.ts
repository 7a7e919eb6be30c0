import { createHash } from 'node:crypto';
import { existsSync, globSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

/*
 * Makes web/dist from web/, when something of it has changed since: script/setup calls it for every purpose that serves. The stamp
 * holds what the build was made of; a build that is there is left alone.
 */
const root = fileURLToPath(new URL('../', import.meta.url));
const dist = `${root}web/dist`;
const stampFile = `${dist}/stamp.txt`;

function stampOf(): string {
  const sum = createHash('sha256');
  const sources = globSync(['web/index.html', 'web/public/**', 'web/src/**'], { cwd: root, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath}/${entry.name}`)
    .sort();
  for (const path of [...sources, `${root}package-lock.json`, fileURLToPath(import.meta.url)])
    sum.update(path.slice(root.length)).update(readFileSync(path));
  return `${sum.digest('hex')}\n`;
}

async function make(stamp: string): Promise<void> {
  // Beside what is served and under a name of its own: neither a running server nor another build sees half of it.
  const fresh = `${dist}.${process.pid}`;
  await build({
    root: `${root}web`,
    base: '/console/',
    configFile: false,
    logLevel: 'error',
    build: {
      outDir: fresh,
      emptyOutDir: true,
      modulePreload: false,
      target: 'es2023',
      reportCompressedSize: false,
      chunkSizeWarningLimit: 2000,
    },
  });
  writeFileSync(`${fresh}/stamp.txt`, stamp);
  rmSync(dist, { recursive: true, force: true });
  try {
    renameSync(fresh, dist);
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    // Another build was first: made of the same sources it is as good.
    if (!isCurrent(stamp)) throw error;
  }
}

function isCurrent(stamp: string): boolean {
  return existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp;
}

const stamp = stampOf();
if (!isCurrent(stamp)) {
  const started = performance.now();
  await make(stamp);
  process.stdout.write(`setup: built the console in ${((performance.now() - started) / 1000).toFixed(1)} s\n`);
}
