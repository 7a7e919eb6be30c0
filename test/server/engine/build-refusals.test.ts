import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../../cli/main.ts', import.meta.url));

describe('engine build', () => {
  let directory = '';
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ws-engine-refusals-'));
  });
  after(() => rm(directory, { recursive: true, force: true }));

  function build(args: readonly string[], env: NodeJS.ProcessEnv) {
    const { status, stdout } = spawnSync(process.execPath, [MAIN, '--json', 'engine', 'build', ...args], { env, encoding: 'utf8' });
    return { status, error: (JSON.parse(stdout) as { error: { code: string; message: string; hint: string } }).error };
  }

  it('without apt exits 78 and says what to install, leaving nothing where the files would go', async () => {
    const out = join(directory, 'out');
    const { status, error } = build(['--out', out, '--cache', join(directory, 'cache')], { PATH: join(directory, 'empty') });
    assert.equal(status, 78);
    assert.equal(error.code, 'missing_program');
    assert.match(error.message, /apt-get/);
    assert.match(error.hint, /^sudo apt-get install apt$/);
    assert.deepEqual(await readdir(directory), ['cache']);
  });

  it('for an architecture it cannot build exits 64', () => {
    const { status, error } = build(['--arch', 'riscv64', '--out', join(directory, 'out')], { PATH: process.env['PATH'] });
    assert.equal(status, 64);
    assert.match(error.message, /riscv64/);
  });
});
