import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { stopProcess } from '../helpers/stop-process.ts';

test('a process that is stopped has written its last, whatever else the machine does', async () => {
  const child = spawn(process.execPath, ['-e', "setInterval(() => process.stdout.write('.'), 0)"], { stdio: ['ignore', 'pipe', 'ignore'] });
  try {
    let written = 0;
    child.stdout.on('data', (data: Buffer) => {
      written += data.length;
    });
    await once(child.stdout, 'data');
    await stopProcess(child.pid as number);
    // What lies in the pipe is read first.
    await new Promise((resolve) => setTimeout(resolve, 50));
    const before = written;
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(written, before);
  } finally {
    child.kill('SIGKILL');
  }
});
