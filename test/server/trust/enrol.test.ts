import assert from 'node:assert/strict';
import { connect as connectTcp, createServer } from 'node:net';
import { after, before, test } from 'node:test';
import { AppError } from '../../../core/errors.ts';
import { newId, parseId } from '../../../core/ids.ts';
import { listEvents } from '../../../server/db/events.ts';
import { listLinks } from '../../../server/db/links.ts';
import { findServerByName, getServer, listServers } from '../../../server/db/servers.ts';
import { listSigners } from '../../../server/db/signers.ts';
import { revokeServer } from '../../../server/servers.ts';
import { createRequest } from '../../../server/trust/certificates.ts';
import { enrolChild } from '../../../server/trust/enrol.ts';
import { issueEnrolToken, parseEnrolToken } from '../../../server/trust/enrol-token.ts';
import { joinParent } from '../../../server/trust/join.ts';
import { pinnedJson } from '../../../server/trust/pinned-request.ts';
import { parentAgent, renewAtParent } from '../../../server/trust/renew.ts';
import { signerOf } from '../api/signer.ts';
import { openTestSite, serveTestSite, type TestSite } from '../api/site.ts';

const DAY = 86_400_000;
let clock = Date.UTC(2026, 5, 1);
const now = () => clock;
let hq: Awaited<ReturnType<typeof serveTestSite>>;

before(async () => {
  hq = await serveTestSite('hq', now);
});
after(() => hq.close());

const hasCode = (code: string) => (error: unknown) => error instanceof AppError && error.code === code;

async function withBranch(name: string, work: (branch: TestSite) => Promise<void>): Promise<void> {
  const branch = await openTestSite(name, now);
  try {
    await work(branch);
  } finally {
    await branch.close();
  }
}

function join(branch: TestSite, token: string, url = hq.serving.httpsUrl) {
  return joinParent(branch.site, { url, token, actor: 'test' });
}

async function enrolRequest(token: string, name: string, id = newId()) {
  return { protocol: 1, token, serverId: id, name, csr: (await createRequest(id)).csrPem, signer: await signerOf(id) };
}

test('a server joins with a token: certificate, signer, parent row, link and events are there, and its request is let in', async () => {
  await withBranch('joins', async (branch) => {
    const { token } = await issueEnrolToken(hq.site);
    const { parent, link } = await join(branch, token);
    assert.equal(parent.caPin, hq.site.keys.caPin);
    assert.equal((await listLinks(branch.site.db))[0]?.id, link.id);
    assert.deepEqual(await listSigners(branch.site.db, hq.site.self.id), [hq.site.keys.signer]);
    assert.deepEqual(await listSigners(hq.site.db, branch.site.self.id), [branch.site.keys.signer]);
    const child = await getServer(hq.site.db, branch.site.self.id);
    assert.equal(child?.certificateKeyId, parent.certificateKeyId);
    assert.equal(child?.caPin, branch.site.keys.caPin);
    assert.ok((await listEvents(hq.site.db, { subject: branch.site.self.id })).some((event) => event.kind === 'server.enrolled'));
    assert.ok((await listEvents(branch.site.db, { subject: parent.id })).some((event) => event.kind === 'server.joined'));
  });
});

test('of 50 redeems of one token at the same time exactly one gets a certificate', async () => {
  const { token } = await issueEnrolToken(hq.site);
  const requests = await Promise.all(Array.from({ length: 50 }, (_, n) => enrolRequest(token, `race-${n}`)));
  const results = await Promise.allSettled(requests.map((request) => enrolChild(hq.site, request)));
  const failed = results.filter((result) => result.status === 'rejected');
  assert.equal(failed.length, 49);
  for (const { reason } of failed) assert.ok(hasCode('token_expired')(reason), String(reason));
  assert.equal((await listServers(hq.site.db)).filter((server) => server.name.startsWith('race-')).length, 1);
});

test('a used, an expired, an unknown and a damaged token are refused with the code that says which', async () => {
  await withBranch('tokens', async (branch) => {
    const used = await issueEnrolToken(hq.site);
    await join(branch, used.token);
    await assert.rejects(join(branch, used.token), hasCode('token_expired'));

    const late = await issueEnrolToken(hq.site, { ttlMs: 1000 });
    clock += 1000;
    await assert.rejects(join(branch, late.token), hasCode('token_expired'));

    const { text, ...pins } = parseEnrolToken((await issueEnrolToken(hq.site)).token);
    const forged = `wse_${Buffer.from(JSON.stringify({ v: 1, secret: 'A'.repeat(43), ...pins })).toString('base64url')}`;
    await assert.rejects(join(branch, forged), hasCode('token_wrong'));
    for (const wrong of ['', 'wse_', 'wse_AAAA', text.slice(0, -8), `wst_${text.slice(4)}`]) {
      await assert.rejects(
        join(branch, wrong),
        (error) => hasCode('token_wrong')(error) && (wrong === '' || !String(error).includes(wrong)),
      );
    }
  });
});

test('a token for one name enrols no other', async () => {
  const { token } = await issueEnrolToken(hq.site, { name: 'only-this' });
  await assert.rejects(enrolChild(hq.site, await enrolRequest(token, 'another')), hasCode('token_wrong'));
  await enrolChild(hq.site, await enrolRequest(token, 'only-this'));
});

test('a name that another server has is taken, and the token stays good', async () => {
  const first = await issueEnrolToken(hq.site);
  await enrolChild(hq.site, await enrolRequest(first.token, 'taken'));
  const { token } = await issueEnrolToken(hq.site);
  await assert.rejects(enrolChild(hq.site, await enrolRequest(token, 'taken')), hasCode('name_taken'));
  await assert.rejects(enrolChild(hq.site, await enrolRequest(token, 'hq')), hasCode('name_taken'));
  await enrolChild(hq.site, await enrolRequest(token, 'free'));
});

test('a token is no way to take the place of an enrolled server with other keys until that one is revoked', async () => {
  const id = newId();
  await enrolChild(hq.site, await enrolRequest((await issueEnrolToken(hq.site)).token, 'victim', id));
  const { token } = await issueEnrolToken(hq.site);
  await assert.rejects(enrolChild(hq.site, await enrolRequest(token, 'victim', id)), hasCode('name_taken'));
  await revokeServer(hq.site, 'victim', 'test');
  await enrolChild(hq.site, await enrolRequest(token, 'victim', id));
  assert.equal((await findServerByName(hq.site.db, 'victim'))?.state, 'active');
});

test('a request whose signer is not vouched for by its own CA, or is of another server, is refused', async () => {
  const { token } = await issueEnrolToken(hq.site);
  const sound = await enrolRequest(token, 'signers');
  const other = await signerOf(newId());
  await assert.rejects(enrolChild(hq.site, { ...sound, signer: other }), hasCode('bad_signature'));
  await assert.rejects(enrolChild(hq.site, { ...sound, signer: { ...sound.signer, ca: other.ca } }), hasCode('bad_signature'));
  await assert.rejects(enrolChild(hq.site, { ...sound, signer: { ...sound.signer, ca: 'no' } }), hasCode('bad_data'));
  await assert.rejects(enrolChild(hq.site, { ...sound, csr: 'no' }), hasCode('bad_data'));
  await assert.rejects(enrolChild(hq.site, { ...sound, protocol: 2 }), hasCode('version_mismatch'));
  await enrolChild(hq.site, sound);
});

test('a child cannot claim the signing key of another server by having its own CA vouch for it', async () => {
  await withBranch('robbed', async (victim) => {
    await join(victim, (await issueEnrolToken(hq.site)).token);
    const stolen = victim.site.keys.signer;
    for (const { keyId, publicKey } of [stolen, hq.site.keys.signer]) {
      const { token } = await issueEnrolToken(hq.site);
      const request = await enrolRequest(token, 'thief');
      const signer = await signerOf(parseId(request.serverId), { keyId, publicKey });
      await assert.rejects(enrolChild(hq.site, { ...request, signer }), hasCode('bad_signature'));
    }
    assert.deepEqual(await listSigners(hq.site.db, victim.site.self.id), [stolen]);
    assert.equal(await findServerByName(hq.site.db, 'thief'), undefined);
  });
});

test('a server cannot join itself, nor its own child', async () => {
  const own = await issueEnrolToken(hq.site);
  await assert.rejects(join(hq, own.token), hasCode('usage'));
  const branch = await serveTestSite('loop', now);
  try {
    await join(branch, (await issueEnrolToken(hq.site)).token);
    const back = await issueEnrolToken(branch.site);
    await assert.rejects(join(hq, back.token, branch.serving.httpsUrl), hasCode('wrong_state'));
  } finally {
    await branch.close();
  }
});

test('joining the same parent again refreshes the certificate and keeps the link', async () => {
  await withBranch('again', async (branch) => {
    const first = await join(branch, (await issueEnrolToken(hq.site)).token);
    const second = await join(branch, (await issueEnrolToken(hq.site)).token);
    assert.equal(second.link.id, first.link.id);
    assert.notEqual(second.parent.certificateKeyId, first.parent.certificateKeyId);
    assert.equal((await getServer(hq.site.db, branch.site.self.id))?.certificateKeyId, second.parent.certificateKeyId);
  });
});

test('another server at the address is refused before the token is sent', async () => {
  const impostor = await serveTestSite('impostor', now);
  try {
    await withBranch('careful', async (branch) => {
      const { token } = await issueEnrolToken(hq.site);
      await assert.rejects(join(branch, token, impostor.serving.httpsUrl), hasCode('denied'));
      // The token did not leave: it is still good.
      await join(branch, token);
    });
  } finally {
    await impostor.close();
  }
});

test('an address where nothing, or something else than TLS, listens is unreachable; one that is no URL is a usage error', async () => {
  const { token } = await issueEnrolToken(hq.site);
  const plain = createServer((socket) => socket.end('HTTP/1.1 400 no\r\n\r\n')).listen(0, '127.0.0.1');
  await new Promise((resolve) => plain.once('listening', resolve));
  const { port } = plain.address() as { port: number };
  await withBranch('lost', async (branch) => {
    await assert.rejects(join(branch, token, `https://127.0.0.1:${port}`), hasCode('unreachable'));
    plain.close();
    await assert.rejects(join(branch, token, `https://127.0.0.1:${port}`), hasCode('unreachable'));
    for (const url of ['', 'hq', 'http://hq', 'https://u:p@hq', 'https://hq/path', 'file:///etc/passwd']) {
      await assert.rejects(join(branch, token, url), hasCode('usage'), url);
    }
    assert.equal(branch.site.keys.parentCredentials(), undefined);
  });
});

test('the client certificate is renewed for the same key, also after it expired; a revoked server gets none', async () => {
  const started = clock;
  await withBranch('renews', async (branch) => {
    const { parent } = await join(branch, (await issueEnrolToken(hq.site)).token);
    const before = branch.site.keys.parentCredentials(parent.id);
    clock = started + 100 * DAY;
    await hq.site.keys.renewLeaf(clock, { force: true });
    const renewedLeaf = await serveOn(hq);
    try {
      const moved = { ...parent, url: renewedLeaf.serving.httpsUrl };
      const agent = parentAgent(branch.site, parent);
      await assert.rejects(pinnedJson(agent, { url: `${moved.url}/api/v1/none` }), hasCode('expired'));
      agent.destroy();
      await renewAtParent(branch.site, moved);
      const after = branch.site.keys.parentCredentials(parent.id);
      assert.equal(after?.keyPem, before?.keyPem);
      assert.notEqual(after?.certPem, before?.certPem);
      const renewed = parentAgent(branch.site, parent);
      await assert.rejects(pinnedJson(renewed, { url: `${moved.url}/api/v1/none` }), hasCode('not_found'));
      renewed.destroy();
      await revokeServer(hq.site, 'renews', 'test');
      await assert.rejects(renewAtParent(branch.site, moved), hasCode('revoked'));
    } finally {
      await renewedLeaf.close();
    }
  });
  clock = started;
});

/** The same site with listeners of its own that show the leaf in force. */
async function serveOn({ site }: TestSite) {
  const { startListeners } = await import('../../../server/api/start.ts');
  const socketPath = `${site.dataDir}/run/second.sock`;
  const listeners = await startListeners(site, { findAgent: async () => undefined, socketPath, graceMs: 100 });
  return { serving: { httpsUrl: `https://127.0.0.1:${listeners.site.config.httpsPort}` }, close: listeners.close };
}

test('an agent counts the octets that its sockets carried, TLS and all', async () => {
  await withBranch('counts', async (branch) => {
    const { parent } = await join(branch, (await issueEnrolToken(hq.site)).token);
    let carried = 0;
    const proxy = createServer((near) => {
      const far = connectTcp(Number(new URL(hq.serving.httpsUrl).port), '127.0.0.1');
      near.on('data', (data) => {
        carried += data.length;
      });
      near.pipe(far).pipe(near);
      near.on('error', () => far.destroy());
      far.on('error', () => near.destroy());
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => proxy.once('listening', resolve));
    const agent = parentAgent(branch.site, parent);
    const url = `https://127.0.0.1:${(proxy.address() as { port: number }).port}/healthz`;
    for (let n = 0; n < 3; n++) await pinnedJson(agent, { url });
    assert.equal(agent.bytes().written, carried);
    assert.ok(agent.bytes().read > 1000);
    agent.destroy();
    await new Promise((resolve) => proxy.close(resolve));
  });
});
