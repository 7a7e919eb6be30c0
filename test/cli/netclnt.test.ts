import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmod, copyFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

const NETCLNT = new URL('../../cli/netclnt', import.meta.url).pathname;

it('netclnt ARGS is waystation sync ARGS, and alone it is one run; also through a link', async () => {
  const dir = await temporaryDirectory('netclnt');
  await copyFile(NETCLNT, join(dir, 'netclnt'));
  await writeFile(join(dir, 'waystation'), '#!/bin/sh\nprintf "%s|" "$@"\n');
  await Promise.all(['netclnt', 'waystation'].map((name) => chmod(join(dir, name), 0o755)));
  const elsewhere = await temporaryDirectory('netclnt');
  await symlink(join(dir, 'netclnt'), join(elsewhere, 'pull'));
  const run = (...args: string[]) => spawnSync(join(elsewhere, 'pull'), args, { encoding: 'utf8' }).stdout;
  assert.equal(run(), 'sync|run|--wait|');
  assert.equal(run('history', '--data', 'a b'), 'sync|history|--data|a b|');
  assert.equal(run('--data', 'a b', 'history'), 'sync|--data|a b|history|');
  assert.equal(run('--data', 'a b', '--json'), 'sync|run|--wait|--data|a b|--json|');
  assert.equal(run('--in-window'), 'sync|run|--wait|--in-window|');
  assert.equal(run('--help'), 'sync|--help|');
});
