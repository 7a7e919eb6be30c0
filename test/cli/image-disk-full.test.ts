import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import { ROOT } from '../helpers/lab/command.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { rawDisk } from './image-files.ts';

const isRoot = process.getuid?.() === 0;

/** A mount namespace of its own with a small tmpfs on `directory`; gone with its last process. */
async function smallFileSystem(
  directory: string,
  size: string,
): Promise<{ run: (...argv: string[]) => Promise<{ code: number; out: string; err: string }> }> {
  const script = 'mount -t tmpfs -o "size=$2" tmpfs "$1" && echo ready && cat';
  const holder = spawn('unshare', ['--mount', ...(isRoot ? [] : ['--map-root-user']), 'sh', '-c', script, 'sh', directory, size]);
  after(() => holder.stdin.end());
  const lines = createInterface({ input: holder.stdout });
  const first = new Promise((resolve) => {
    lines.once('line', resolve);
    holder.once('exit', (code) => resolve(`unshare ended with ${code}`));
  });
  assert.equal(await first, 'ready');
  const enter = ['-t', String(holder.pid), '--mount', ...(isRoot ? [] : ['--user', '--preserve-credentials'])];
  return {
    run: (...argv) =>
      new Promise((resolve, reject) => {
        const child = spawn('nsenter', [...enter, ...argv], { stdio: ['ignore', 'pipe', 'pipe'] });
        const [out, err]: [Buffer[], Buffer[]] = [[], []];
        child.stdout.on('data', (data: Buffer) => out.push(data));
        child.stderr.on('data', (data: Buffer) => err.push(data));
        child.once('error', reject);
        child.once('close', (code) => resolve({ code: code ?? -1, out: String(Buffer.concat(out)), err: String(Buffer.concat(err)) }));
      }),
  };
}

test('an import that fills the file system ends with 75 and leaves a store that is clean and works', async () => {
  const directory = await temporaryDirectory('full');
  const image = join(await temporaryDirectory('full-image'), 'disk.raw');
  writeFileSync(image, rawDisk(7));
  const { run } = await smallFileSystem(directory, '5m');
  const dataDir = join(directory, 'data');
  const cli = (...args: string[]) => run(join(ROOT, 'cli/waystation'), ...args, '--data', dataDir);
  const made = await cli('init', '--name', 'hq');
  assert.equal(made.code, 0, made.err);

  const failed = await cli('image', 'import', image, '--name', 'deb');
  assert.equal(failed.code, 75, failed.err);
  assert.match(failed.err, /^waystation: .*no space left.*\n$/);
  assert.deepEqual(JSON.parse((await cli('image', 'list', '--json')).out), { items: [], next: null });
  assert.equal((await run('find', join(dataDir, 'store', 'tmp'), '-type', 'f')).out, '');
  assert.equal((await run('find', join(dataDir, 'store'), '-name', '.*.tmp')).out, '');

  await run('mount', '-o', 'remount,size=64m', directory);
  assert.equal(JSON.parse((await cli('store', 'check', '--json')).out).clean, true);
  const imported = await cli('image', 'import', image, '--name', 'deb', '--json');
  assert.equal(imported.code, 0, imported.out + imported.err);
  assert.equal(JSON.parse(imported.out).version, '1');
});
