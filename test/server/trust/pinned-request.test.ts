import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createTlsListener } from '../../../server/api/listeners.ts';
import { createKeys } from '../../../server/trust/keys.ts';
import { pinnedJson, pinnedUpgrade } from '../../../server/trust/pinned-request.ts';
import { pinnedAgent } from '../../../server/trust/pinned-tls.ts';
import { freePort } from '../../helpers/free-port.ts';
import { temporaryDirectory } from '../../helpers/temp-directory.ts';

const root = await temporaryDirectory('pinned-request');

/** A TLS server with keys of its own, and an agent that is pinned to them. */
async function peer(t: TestContext, handler: Parameters<typeof createTlsListener>[1]) {
  const keys = await createKeys(join(root, t.name.slice(0, 8)), '01980000-0000-7000-8000-000000000001' as never, Date.now());
  const server = createTlsListener(keys.leaf(), handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const agent = pinnedAgent({ pin: keys.caPin });
  t.after(() => {
    agent.destroy();
    server.closeAllConnections();
    server.close();
  });
  return { agent, server, url: `https://127.0.0.1:${(server.address() as AddressInfo).port}/` };
}

test('an answer that drips on and on is given up, although it is never silent', async (t) => {
  const { agent, url } = await peer(t, (_request, response) => {
    response.writeHead(200).write('{');
    const timer = setInterval(() => response.write(' '), 20);
    response.on('close', () => clearInterval(timer));
  });
  await assert.rejects(pinnedJson(agent, { url, timeoutMs: 200 }), { code: 'unreachable', message: /too slowly/ });
});

test('a port on which nothing listens, and one without TLS, are told as such', async (t) => {
  const { agent } = await peer(t, () => undefined);
  const closed = `https://127.0.0.1:${await freePort()}/`;
  await assert.rejects(pinnedJson(agent, { url: closed }), { code: 'unreachable', message: /nothing listens there \(ECONNREFUSED\)/ });
  const plain = createServer((socket) => socket.on('error', () => undefined).end('HTTP/1.1 400 Bad Request\r\n\r\n')).listen(
    0,
    '127.0.0.1',
  );
  t.after(() => plain.close());
  await once(plain, 'listening');
  const url = `https://127.0.0.1:${(plain.address() as AddressInfo).port}/`;
  await assert.rejects(pinnedJson(agent, { url }), { code: 'unreachable', message: /speaks no TLS on that port/ });
});

test('an answer that breaks off half way is unreachable, which is tried again', async (t) => {
  const { agent, url } = await peer(t, (_request, response) => {
    response.writeHead(200, { 'content-length': '100' }).write('{"protocol":1');
    setTimeout(() => response.destroy(), 20);
  });
  await assert.rejects(pinnedJson(agent, { url }), { code: 'unreachable' });
});

test('an upgraded connection that is reset before anybody reads it is closed, and ends nothing else', async (t) => {
  const { agent, server, url } = await peer(t, () => undefined);
  const connected = once(server, 'connection') as Promise<[Socket]>;
  server.on('upgrade', (_request, socket) => {
    socket.on('error', () => undefined);
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: waystation-rsync\r\n\r\n');
  });
  const { socket } = await pinnedUpgrade(agent, { url, protocol: 'waystation-rsync' });
  const closed = new Promise((resolve) => socket.on('close', resolve));
  const [raw] = await connected;
  raw.resetAndDestroy();
  socket.resume();
  await closed;
  assert.equal(socket.destroyed, true);
});
