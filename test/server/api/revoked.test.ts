import assert from 'node:assert/strict';
import { request } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { createApp, type Frame } from '../../../server/api/app.ts';
import { watchConnections } from '../../../server/api/connections.ts';
import { closeListener, createTlsListener, listenOnPort } from '../../../server/api/listeners.ts';
import { route } from '../../../server/api/route.ts';
import { upgradeListener } from '../../../server/api/upgrade.ts';
import { revokeServer } from '../../../server/servers.ts';
import { ask, joinChild } from './callers.ts';
import { openTestSite, type TestSite } from './site.ts';

let hq: TestSite;
let listener: ReturnType<typeof createTlsListener>;

const begun = Promise.withResolvers<void>();
const poll = route({
  method: 'GET',
  path: '/poll',
  listener: 'api',
  action: 'sync.catalogue',
  summary: 'waits until the client is gone',
  handle: ({ signal }) => {
    begun.resolve();
    return new Promise((resolve) => signal.addEventListener('abort', resolve));
  },
});

before(async () => {
  hq = await openTestSite();
  const frame: Frame = { site: hq.site, listener: 'api', findAgent: async () => undefined, onServer: watchConnections(hq.site) };
  listener = createTlsListener(hq.site.keys.leaf(), createApp(frame, [poll]));
  const echo = async (_context: unknown, socket: NodeJS.ReadWriteStream) => void socket.pipe(socket);
  listener.on('upgrade', upgradeListener(frame, [{ path: '/tunnel', protocol: 'echo', action: 'sync.tunnel', handle: echo }]));
  await listenOnPort(listener, 0, 'httpsPort');
});
after(async () => {
  await closeListener(listener, 100);
  await hq.close();
});

const port = () => (listener.address() as AddressInfo).port;

function openTunnel(certificate: { key: string; cert: string }): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const headers = { connection: 'Upgrade', upgrade: 'echo' };
    const sent = request({
      host: '127.0.0.1',
      port: port(),
      path: '/tunnel',
      agent: false,
      rejectUnauthorized: false,
      headers,
      ...certificate,
    });
    sent.once('upgrade', (_response, socket) => resolve(socket as Socket));
    sent.once('response', (response) => reject(new Error(`status ${response.statusCode}`)));
    sent.once('error', reject);
    sent.end();
  });
}

test('a server that is revoked in the middle of its connections loses them at once, its next request is refused, others stay', async () => {
  const child = await joinChild(hq.site, 'branch-1');
  const other = await joinChild(hq.site, 'branch-2');
  const tunnel = await openTunnel(child.certificate);
  const otherTunnel = await openTunnel(other.certificate);
  tunnel.write('hello');
  assert.equal(String(await new Promise((resolve) => tunnel.once('data', resolve))), 'hello');
  const polling = ask({ port: port(), tls: true, method: 'GET', path: '/poll', caller: { certificate: child.certificate } }).catch(
    (error: unknown) => error,
  );
  // A connection is there before its request has been looked at: one that is revoked in between is refused, not closed.
  await begun.promise;
  const started = performance.now();
  const closed = new Promise((resolve) => tunnel.once('close', resolve));
  tunnel.on('error', () => undefined);
  await revokeServer(hq.site, 'branch-1', 'test');
  await closed;
  assert.ok((await polling) instanceof Error);
  assert.ok(performance.now() - started < 2000);
  const next = await ask({ port: port(), tls: true, method: 'GET', path: '/poll', caller: { certificate: child.certificate } });
  assert.deepEqual([next.status, next.json?.['code']], [403, 'revoked']);
  otherTunnel.write('still here');
  assert.equal(String(await new Promise((resolve) => otherTunnel.once('data', resolve))), 'still here');
  otherTunnel.destroy();
});

test('revoking twice is harmless, revoking what is no child is refused in words', async () => {
  await joinChild(hq.site, 'branch-3');
  await revokeServer(hq.site, 'branch-3', 'test');
  await revokeServer(hq.site, 'branch-3', 'test');
  await assert.rejects(revokeServer(hq.site, 'hq', 'test'), /this server/);
  await assert.rejects(revokeServer(hq.site, 'nobody', 'test'), /no server "nobody"/);
});
