import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createBackup } from '../../server/backup/create.ts';
import { appendEvent } from '../../server/db/events.ts';
import { findImageVersion } from '../../server/db/images.ts';
import { inTransaction } from '../../server/db/open.ts';
import { howMany } from '../helpers/how-many.ts';
import { importDisk, makeDisk, makeSite, reopenSite } from '../helpers/replication-sites.ts';
import { CLEAN_ENV, runCli, runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { waitUntil } from '../helpers/wait-until.ts';

/** `server restore` as a process of its own, killed with SIGKILL at moments spread over its whole time. */
const KILLS = howMany({ sample: 3, full: 100 });
const MAIN = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
const root = await temporaryDirectory('restore-kill');
const dir = join(root, 'restored');
const file = join(root, 'hq.wsb');

const hasEnded = ({ exitCode, signalCode }: ChildProcess) => exitCode !== null || signalCode !== null;

/** Starts a restore; gives how it ended and how long it took. With `killAfterMs` it is killed then, counted from when it began to write. */
async function restore(killAfterMs?: number): Promise<{ code: number | null; ms: number }> {
  const child = spawn(process.execPath, ['--no-warnings', MAIN, '--data', dir, 'server', 'restore', file, '--json'], {
    env: CLEAN_ENV,
    stdio: 'ignore',
  });
  const ended = once(child, 'exit');
  await waitUntil('it writes', () => hasEnded(child) || existsSync(join(dir, '.restore')), { everyMs: 1 });
  const began = performance.now();
  if (killAfterMs !== undefined) {
    await Promise.race([sleep(killAfterMs), ended]);
    child.kill('SIGKILL');
  }
  const [code] = await ended;
  return { code: code as number | null, ms: performance.now() - began };
}

test('a backup that is killed leaves its file, which holds the keys, until the directory is opened again', async () => {
  const site = await makeSite(root, 'killed');
  await inTransaction(site.db, async (trx) => {
    const event = { origin: site.self.id, at: 1, actor: 'test', kind: 'test.bulk', subject: 's' };
    for (let n = 0; n < 2_000; n += 1) await appendEvent(trx, event);
  });
  await site.close();
  const backups = join(root, 'backups');
  await mkdir(backups);
  const argv = ['--no-warnings', MAIN, '--data', join(root, 'killed'), 'server', 'backup', join(backups, 'night.wsb')];
  const child = spawn(process.execPath, argv, { env: CLEAN_ENV, stdio: 'ignore' });
  const ended = once(child, 'exit');
  await waitUntil('it writes', async () => hasEnded(child) || (await readdir(backups)).length > 0, { everyMs: 1 });
  child.kill('SIGKILL');
  await ended;
  const [left, ...others] = await readdir(backups);
  assert.match(left ?? '', /^\.night\.wsb\..*\.tmp$/);
  assert.deepEqual(others, []);
  // What a link there names besides is nobody's to take away.
  await writeFile(join(backups, 'mine.wsb'), 'mine');
  await symlink(join(backups, 'mine.wsb'), join(root, 'killed', 'run', 'backup-0123456789ab'));
  // A restore that was killed behind its last step.
  await mkdir(join(root, 'killed', '.restore'));
  await (await reopenSite(root, 'killed')).close();
  assert.deepEqual(await readdir(backups), ['mine.wsb']);
  assert.ok(!existsSync(join(root, 'killed', '.restore')));
  const again = await runCli(['--data', join(root, 'killed'), 'server', 'backup', join(backups, 'night.wsb')]);
  assert.equal(again.code, 0, again.stderr);
  assert.deepEqual(
    (await readdir(join(root, 'killed', 'run'))).filter((name) => name.startsWith('backup-')),
    ['backup-0123456789ab'],
  );
});

test(`a restore that is killed ${KILLS} times leaves a directory on which nothing starts, and the next one makes it whole`, {
  timeout: 120_000 + KILLS * 20_000,
}, async (t) => {
  const hq = await makeSite(root, 'hq');
  await makeDisk(join(root, 'disk.raw'), 3_000_000);
  const { manifest } = await importDisk(hq, join(root, 'disk.raw'));
  await inTransaction(hq.db, async (trx) => {
    const event = { origin: hq.self.id, at: 1, actor: 'test', kind: 'test.bulk', subject: 's' };
    for (let n = 0; n < 3_000; n += 1) await appendEvent(trx, event);
  });
  await createBackup(hq, { path: file, content: 'whole', actor: 'test' });
  await hq.close();

  const whole = await restore();
  assert.equal(whole.code, 0);
  await rm(dir, { recursive: true });
  const stages = new Map<string, number>();
  for (let kill = 1; kill <= KILLS; kill += 1) {
    const { code } = await restore((whole.ms * (kill - 0.5)) / KILLS);
    const isServer = existsSync(join(dir, 'server-id'));
    const stage = stageOf(isServer, existsSync(join(dir, 'db.sqlite')));
    stages.set(stage, (stages.get(stage) ?? 0) + 1);
    if (isServer) {
      // It was whole before the kill came: that is a server, and is taken for one.
      await assertWhole(manifest);
      await rm(dir, { recursive: true });
      continue;
    }
    assert.equal(code, null);
    for (const argv of [['serve'], ['image', 'list'], ['store', 'check']]) {
      const refused = await runCli(['--data', dir, ...argv]);
      assert.equal(refused.code, 66, `${argv}: ${refused.stderr}`);
      assert.match(refused.stderr, /a restore into .* was not finished/);
    }
    const made = await runCli(['--data', dir, 'init', '--name', 'other']);
    assert.equal(made.code, 78, made.stderr);
  }
  const again = await runJson<{ held: number }>(['--data', dir, 'server', 'restore', file]);
  assert.deepEqual([again.code, again.document.held], [0, 1]);
  await assertWhole(manifest);
  assert.ok(!(await readdir(dir)).includes('.restore'));
  t.diagnostic(`${KILLS} kills within ${Math.round(whole.ms)} ms: ${[...stages].map(([stage, n]) => `${n} ${stage}`).join(', ')}`);
});

function stageOf(isServer: boolean, isMoved: boolean): string {
  if (isServer) return 'after the last step';
  return isMoved ? 'while it was moved into place' : 'while it was built';
}

async function assertWhole(manifest: string): Promise<void> {
  const site = await reopenSite(root, 'restored');
  try {
    const image = await findImageVersion(site.db, 'debian', '1');
    assert.deepEqual([image?.manifest, image?.state], [manifest, 'published']);
    assert.deepEqual((await site.store.check()).damages, []);
    assert.equal((await site.db('events').where({ kind: 'server.restored' })).length, 1);
    await site.store.exportDisk(image?.manifest as NonNullable<typeof image>['manifest'], join(root, 'out.raw'));
    assert.deepEqual(await readFile(join(root, 'out.raw')), await readFile(join(root, 'disk.raw')));
  } finally {
    await site.close();
  }
}
