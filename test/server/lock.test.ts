import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { it } from 'node:test';
import { takeLock } from '../../server/lock.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

const HOLD = `
  import { spawn } from 'node:child_process';
  const { takeLock } = await import(${JSON.stringify(new URL('../../server/lock.ts', import.meta.url).href)});
  globalThis.lock = await takeLock(process.argv[1]);
  // A child that outlives its parent, as rsync does, and says so.
  const child = spawn('sleep', ['60'], { stdio: 'ignore', detached: true });
  process.stdout.write('held ' + child.pid + '\\n');
  setInterval(() => globalThis.lock, 1000);
`;

it('is held once, and free again after release', async () => {
  const dir = await temporaryDirectory('lock');
  const lock = await takeLock(dir);
  await assert.rejects(takeLock(dir), { code: 'directory_in_use', message: new RegExp(`${dir} is in use by process ${process.pid}$`) });
  await assert.rejects(takeLock(dir), { code: 'directory_in_use' });
  lock.release();
  (await takeLock(dir)).release();
});

it('ends with the process that held it, and its children do not keep it', async () => {
  const dir = await temporaryDirectory('lock');
  const holder = spawn(process.execPath, ['--input-type=module', '-e', HOLD, dir], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(holder.stdout, 'data')) as [Buffer];
  const childPid = Number(/held (\d+)/.exec(line.toString())?.[1]);
  try {
    await assert.rejects(takeLock(dir), { code: 'directory_in_use', message: new RegExp(`process ${holder.pid}$`) });
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    process.kill(childPid, 0);
    (await takeLock(dir)).release();
  } finally {
    process.kill(childPid, 'SIGKILL');
  }
});

it('says so when the directory is not there', async () => {
  await assert.rejects(takeLock(`${await temporaryDirectory('lock')}/absent`), { code: 'config', message: /cannot lock/ });
});
