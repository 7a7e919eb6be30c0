import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { it } from 'node:test';
import { runCommand } from '../../cli/main.ts';
import { closeLog, createLog } from '../../server/log.ts';
import { initialisedDirectory } from '../helpers/initialised-directory.ts';
import { CLEAN_ENV, runCli, runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { waitUntil } from '../helpers/wait-until.ts';

it('shows the lines of one order or target with the server down', async () => {
  const { dataDir } = await initialisedDirectory();
  const log = createLog({ dataDir });
  log.info('order.created', { orderId: 'o1', targetId: 't1' });
  log.info('order.created', { orderId: 'o2', targetId: 't2', note: 'escape \u001b[31m' });
  await closeLog(log);
  const { document } = await runJson<{ items: { orderId: string }[]; next: null }>(['logs', '--data', dataDir, '--order', 'o1']);
  assert.deepEqual([document.items.map((line) => line.orderId), document.next], [['o1'], null]);
  const { stdout } = await runCli(['logs', '--data', dataDir, '--target', 'T2']);
  assert.match(stdout, /^\S+ info {2}order\.created orderId=o2 targetId=t2 note=escape \?\[31m\n$/);
  assert.equal((await runCli(['logs', '--data', await temporaryDirectory('empty')])).code, 66);
});

it('says so when the log has no line about what was asked for, and nothing when none is new enough', async () => {
  const { dataDir } = await initialisedDirectory();
  const log = createLog({ dataDir });
  log.info('order.created', { orderId: 'o1', targetId: 't1' });
  await closeLog(log);
  const nope = await runJson<{ error: { code: string; message: string } }>(['logs', '--data', dataDir, '--run', 'nope']);
  assert.deepEqual([nope.code, nope.document.error.code], [66, 'not_found']);
  assert.match(nope.document.error.message, /no line about run nope/);
  assert.equal((await runCli(['logs', '--data', dataDir, '--target', 'nope'])).code, 66);
  const none = await runJson<{ items: unknown[] }>(['logs', '--data', dataDir, '--order', 'o1', '--since', '2999-01-01T00:00:00Z']);
  assert.deepEqual([none.code, none.document.items], [0, []]);
  assert.equal((await runCli(['logs', '--data', dataDir, '--since', '2999-01-01T00:00:00Z'])).code, 0);
});

it('follows new lines, over a rotation, until it is interrupted', async () => {
  const { dataDir } = await initialisedDirectory();
  await mkdir(join(dataDir, 'log'));
  const log = createLog({ dataDir, maxFileBytes: 300, maxFiles: 9 });
  log.info('before', { orderId: 'o1' });
  const stop = new AbortController();
  const lines: string[] = [];
  const stdout = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      lines.push(...chunk.toString().trimEnd().split('\n'));
      done();
    },
  });
  const argv = ['logs', '--data', dataDir, '--follow', '--order', 'o1', '--json'];
  const world = { stdout, stderr: stdout, stdin: Readable.from([]), env: CLEAN_ENV, signal: () => stop.signal };
  const ended = runCommand(argv, world);
  const until = (count: number) => waitUntil(`${count} lines`, () => lines.length >= count, { during: ended, state: () => lines });
  await until(1);
  for (let n = 1; n <= 5; n++) {
    log.info('step', { orderId: 'other', n });
    log.info('step', { orderId: 'o1', n });
    await until(n + 1);
  }
  stop.abort();
  assert.equal(await ended, 0);
  await closeLog(log);
  assert.deepEqual(
    lines.map((line) => JSON.parse(line).n ?? 0),
    [0, 1, 2, 3, 4, 5],
  );
});
