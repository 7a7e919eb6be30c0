import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { waitUntil } from '../helpers/wait-until.ts';

test('a machine ends with the process that started it, also when that is killed, and leaves its turn to the next', async () => {
  const directory = await temporaryDirectory('killed-test');
  const program = `
    import { startMachine } from ${JSON.stringify(new URL('../helpers/qemu.ts', import.meta.url).href)};
    await startMachine({ firmware: 'bios', directory: ${JSON.stringify(directory)}, network: { kind: 'none' }, memoryMb: 64 });
    console.log('runs');`;
  const starter = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(createInterface({ input: starter.stdout }), 'line')) as [string];
  assert.equal(line, 'runs');
  const [machine] = (await readFile(`/proc/${starter.pid}/task/${starter.pid}/children`, 'utf8')).split(' ');
  assert.match(await readFile(`/proc/${machine}/comm`, 'utf8'), /^qemu/);
  starter.kill('SIGKILL');
  await waitUntil('the machine ended', () => hasEnded(Number(machine)), { limitMs: 10_000, everyMs: 50, despiteErrors: true });
});

/** A process that nobody has asked about yet is still listed, without its files and locks. */
async function hasEnded(process: number): Promise<boolean> {
  const stat = await readFile(`/proc/${process}/stat`, 'utf8').catch(() => undefined);
  return stat === undefined || /\) [ZX] /.test(stat);
}
