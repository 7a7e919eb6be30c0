import assert from 'node:assert/strict';
import type { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect } from 'node:tls';
import { type Listeners, startListeners } from '../../../server/api/start.ts';
import { updateServer } from '../../../server/db/servers.ts';
import { issueEnrolToken } from '../../../server/trust/enrol-token.ts';
import { joinParent } from '../../../server/trust/join.ts';
import { pinnedJson } from '../../../server/trust/pinned-request.ts';
import { pinnedAgent } from '../../../server/trust/pinned-tls.ts';
import { startRenewal } from '../../../server/trust/renewal.ts';
import { ask, joinChild } from '../api/callers.ts';
import { openTestSite, type TestSite } from '../api/site.ts';

const DAY = 86_400_000;
let clock = Date.now();
let hq: TestSite;
let listeners: Listeners;

before(async () => {
  hq = await openTestSite('hq', () => clock);
  listeners = await startListeners(hq.site, {
    findAgent: async () => undefined,
    socketPath: join(hq.dataDir, 'run', 'api.sock'),
    graceMs: 100,
  });
});
after(async () => {
  await listeners.close();
  await hq.close();
});

const port = () => listeners.site.config.httpsPort;

function leafOnTheWire(): Promise<X509Certificate> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port: port(), host: '127.0.0.1', rejectUnauthorized: false }, () => {
      const certificate = socket.getPeerX509Certificate();
      socket.destroy();
      if (certificate) resolve(certificate);
      else reject(new Error('no certificate'));
    });
    socket.once('error', reject);
  });
}

async function renewOnce(): Promise<void> {
  await startRenewal(hq.site, { onLeaf: listeners.swapLeaf })();
}

test('a young leaf stays; at half of its life a running server shows a new one, and clients are known by their certificate as before', async () => {
  const { fingerprint256 } = await leafOnTheWire();
  await renewOnce();
  assert.equal((await leafOnTheWire()).fingerprint256, fingerprint256);
  const child = await joinChild(hq.site, 'branch-1');
  const agent = pinnedAgent({ pin: hq.site.keys.caPin, now: () => clock });
  const url = `https://127.0.0.1:${port()}/healthz`;
  await pinnedJson(agent, { url });

  clock += 46 * DAY;
  await renewOnce();
  const renewed = await leafOnTheWire();
  assert.notEqual(renewed.fingerprint256, fingerprint256);
  assert.ok(Date.parse(renewed.validTo) > clock + 89 * DAY);
  await pinnedJson(agent, { url });
  agent.destroy();
  const fresh = pinnedAgent({ pin: hq.site.keys.caPin, now: () => clock });
  await pinnedJson(fresh, { url });
  fresh.destroy();
  const known = await ask({ port: port(), tls: true, method: 'GET', path: '/api/v1/none', caller: { certificate: child.certificate } });
  assert.equal(known.status, 404, 'the child is known: it is told that there is nothing');
});

test('a client with a clock far behind or ahead refuses the leaf in words', async () => {
  for (const offset of [-10 * DAY, 400 * DAY]) {
    const agent = pinnedAgent({ pin: hq.site.keys.caPin, now: () => clock + offset });
    await assert.rejects(pinnedJson(agent, { url: `https://127.0.0.1:${port()}/healthz` }), /certificate is valid from/);
    agent.destroy();
  }
});

test('a parent that takes the connection and says nothing does not hold up the end of a server', async () => {
  const silent = createServer().listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const branch = await openTestSite('silent-parent', () => clock);
  try {
    const { token } = await issueEnrolToken(hq.site);
    const { parent } = await joinParent(branch.site, { url: `https://127.0.0.1:${port()}`, token, actor: 'test' });
    await updateServer(branch.site.db, { ...parent, url: `https://127.0.0.1:${(silent.address() as AddressInfo).port}` });
    clock += 50 * DAY;
    const connected = once(silent, 'connection');
    const stop = startRenewal(branch.site, { onLeaf: () => undefined });
    await connected;
    const started = performance.now();
    await stop();
    assert.ok(performance.now() - started < 3000);
  } finally {
    silent.close();
    await branch.close();
  }
});
