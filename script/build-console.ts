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
  // Beside what is served, so that a running server never sees half of a build.
  const fresh = `${dist}.new`;
  await build({
    root: `${root}web`,
    base: '/console/',
    configFile: false,
    logLevel: 'warn',
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
  renameSync(fresh, dist);
}

const stamp = stampOf();
if (!existsSync(stampFile) || readFileSync(stampFile, 'utf8') !== stamp) {
  const started = performance.now();
  await make(stamp);
  process.stdout.write(`setup: built the console in ${((performance.now() - started) / 1000).toFixed(1)} s\n`);
}
