import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { test } from 'node:test';
import { startPacingProxy } from '../helpers/pacing-proxy.ts';

const BYTES = 3_000_000;
const MOST_WRITTEN = 20_000;

test('what goes through a slow link on a busy machine arrives in its order, to its end', async () => {
  const octets = randomBytes(BYTES);
  const server = createServer(async (socket) => {
    for (let at = 0, length = 1; at < BYTES; at += length, length = (length * 7919) % MOST_WRITTEN) {
      if (!socket.write(octets.subarray(at, at + length))) await once(socket, 'drain');
    }
    socket.end();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  // Timers come late, and several at once.
  const busy = setInterval(() => {
    for (const end = performance.now() + Math.random() * 12; performance.now() < end; );
  }, 3);
  try {
    for (let n = 0; n < 2; n++) {
      const proxy = await startPacingProxy({ bytesPerSecond: 60e6, latencyMs: 5 });
      proxy.setUpstream((server.address() as AddressInfo).port);
      const pieces: Buffer[] = [];
      for await (const piece of connect(proxy.port, '127.0.0.1')) pieces.push(piece);
      await proxy.close();
      assert.ok(Buffer.concat(pieces).equals(octets));
    }
  } finally {
    clearInterval(busy);
    server.close();
  }
});
