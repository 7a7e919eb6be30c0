import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openPipeListener } from '../../../sync/tunnel/pipe-listener.ts';
import { endInReverse } from '../../helpers/end-in-reverse.ts';
import { temporaryDirectory } from '../content/fixtures.ts';

const PIPE = join(import.meta.dirname, '../../../sync/tunnel/waystation-pipe');
const BYTES = 8_000_000;

/** A pipe as rsync starts it, and the connection on which it has arrived. */
async function startPipe(t: TestContext) {
  const directory = await temporaryDirectory(t);
  const pipes = await openPipeListener(join(directory, 'a "b" c.sock'));
  endInReverse(t, () => pipes.close());
  const arrived = Promise.withResolvers<Socket>();
  const { ticket } = pipes.issue(arrived.resolve);
  const child = spawn(PIPE, { env: { WAYSTATION_PIPE_SOCKET: pipes.path, WAYSTATION_PIPE_TICKET: ticket } });
  endInReverse(t, () => child.kill('SIGKILL'));
  return { child, ended: once(child, 'close'), socket: await arrived.promise };
}

async function collect(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

test('the pipe carries both ways at once, also when neither side reads before it has written much', async (t) => {
  const { child, ended, socket } = await startPipe(t);
  const [up, down] = [randomBytes(BYTES), randomBytes(BYTES)];
  child.stdin.on('error', () => undefined).end(up);
  socket.end(down);
  await new Promise((resolve) => setTimeout(resolve, 100));
  const [sent, received] = await Promise.all([collect(socket), collect(child.stdout)]);
  assert.ok(received.equals(down), 'what the link sent arrived whole at rsync');
  // The end of the link ends the pipe, whatever rsync had still to say: a beginning of it arrived.
  assert.ok(sent.equals(up.subarray(0, sent.length)));
  assert.deepEqual(await ended, [0, null]);
});

test('the end of what rsync says ends that way alone; then the end of the link ends the pipe', async (t) => {
  const { child, ended, socket } = await startPipe(t);
  const up = randomBytes(BYTES);
  child.stdin.end(up);
  assert.ok((await collect(socket)).equals(up));
  socket.end('the last words');
  assert.equal((await collect(child.stdout)).toString(), 'the last words');
  assert.deepEqual(await ended, [0, null]);
});

test('a pipe whose server is gone says so, and one started by hand too', async (t) => {
  const env = { WAYSTATION_PIPE_SOCKET: join(await temporaryDirectory(t), 'none.sock'), WAYSTATION_PIPE_TICKET: 'none' };
  for (const [given, status, words] of [
    [env, 1, /the server that holds the link is gone: No such file/],
    [{}, 64, /started by rsync/],
  ] as const) {
    const child = spawn(PIPE, { env: given, stdio: ['ignore', 'ignore', 'pipe'] });
    const ended = once(child, 'close');
    assert.match((await collect(child.stderr)).toString(), words);
    assert.deepEqual(await ended, [status, null]);
  }
});

test('a pipe takes less than 12 MB of memory: several run beside a server', async (t) => {
  const { child, socket } = await startPipe(t);
  for (let n = 0; n < 20; n++) {
    socket.write(randomBytes(1_000_000));
    for (let left = 1_000_000; left > 0; ) left -= ((await once(child.stdout, 'data')) as [Buffer])[0].length;
  }
  const status = await readFile(`/proc/${child.pid}/status`, 'utf8');
  const kilobytes = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]);
  t.diagnostic(`${kilobytes} KB`);
  assert.ok(kilobytes > 0 && kilobytes < 12_000, `${kilobytes} KB`);
});
