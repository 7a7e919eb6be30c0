import assert from 'node:assert/strict';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { ACTIONS, type Action, authorise, type Identity } from '../../../core/authorise.ts';
import { newId } from '../../../core/ids.ts';
import { createApp, type Frame } from '../../../server/api/app.ts';
import type { ListenerKind } from '../../../server/api/identity.ts';
import { closeListener, createPlainListener, createTlsListener, listenOnPort, listenOnSocket } from '../../../server/api/listeners.ts';
import { createMetrics } from '../../../server/api/metrics.ts';
import type { Route } from '../../../server/api/route.ts';
import { allRoutes, UPGRADES } from '../../../server/api/routes/index.ts';
import { signIn } from '../../../server/api/session.ts';
import { hashToken } from '../../../server/api/token.ts';
import { type UpgradeRoute, upgradeListener } from '../../../server/api/upgrade.ts';
import { loaderFiles, parseLoaderName } from '../../../server/boot/loaders.ts';
import { findAgentKey } from '../../../server/db/agent-keys.ts';
import { createOperatorToken, revokeOperatorToken } from '../../../server/db/operator-tokens.ts';
import { revokeServer } from '../../../server/servers.ts';
import { ask, askUpgrade, type Caller, foreignCertificate, joinChild, selfMadeCertificate } from './callers.ts';
import { openTestSite, type TestSite } from './site.ts';

/**
 * Every entry of the program, asked by everybody. Handlers are replaced by one that says `reached`, so what is tested is
 * the frame and the table in core/authorise.ts: a cell that the table does not allow must not be reached.
 */
const routes = allRoutes(createMetrics());
const OPERATORS = ['administrator', 'operator', 'viewer'] as const;

type Case = { readonly name: string; readonly caller: Caller; readonly identity: Identity; readonly code?: string };

let hq: TestSite;
let cases: readonly Case[];
/** Browsers that are signed in, on pages that are not ours. */
const withCookie: Caller[] = [];
const listening = new Map<ListenerKind, Server>();

before(async () => {
  hq = await openTestSite();
  const frame = (listener: ListenerKind): Frame => ({
    site: hq.site,
    listener,
    findAgent: (keyId) => findAgentKey(hq.site.db, keyId),
    failuresPerMinute: 10_000,
  });
  const probes = routes.map((route): Route => ({ ...withoutInput(route), handle: async () => ({ reached: route.path }) }));
  const tls = createTlsListener(hq.site.keys.leaf(), createApp(frame('api'), probes));
  tls.on('upgrade', upgradeListener(frame('api'), upgradeProbes()));
  listening.set('api', tls as unknown as Server);
  listening.set('boot', createPlainListener(createApp(frame('boot'), probes)));
  listening.set('local', createPlainListener(createApp(frame('local'), probes)));
  await listenOnPort(tls, 0, 'httpsPort');
  await listenOnPort(listening.get('boot') as Server, 0, 'httpPort');
  await listenOnSocket(listening.get('local') as Server, join(hq.dataDir, 'run', 'api.sock'));
  cases = await everybody();
});

after(async () => {
  await Promise.all([...listening.values()].map((server) => closeListener(server, 100)));
  await hq.close();
});

function withoutInput({ input: _input, ...route }: Route): Route {
  return route;
}

function upgradeProbes(): UpgradeRoute[] {
  return UPGRADES.map(({ check: _check, ...upgrade }) => ({
    ...upgrade,
    handle: async (_context, socket) => {
      socket.end('reached');
    },
  }));
}

async function operatorToken(
  role: (typeof OPERATORS)[number],
  change: { expiresAt?: number; revoked?: boolean } = {},
): Promise<[string, Identity]> {
  const token = `wst_${newId().replaceAll('-', '')}${newId().replaceAll('-', '')}`;
  const id = newId();
  const now = hq.site.now();
  await createOperatorToken(hq.site.db, {
    id,
    name: role,
    hash: hashToken(token),
    role,
    createdAt: now,
    expiresAt: change.expiresAt ?? null,
  });
  if (change.revoked) await revokeOperatorToken(hq.site.db, id, now);
  return [token, { kind: 'operator', tokenId: id, role }];
}

/** The holder of a bound key, as server/orders would have bound it. */
async function boundAgent(): Promise<{ caller: Caller; identity: Identity }> {
  const { certificate, keyId } = await selfMadeCertificate();
  const targetId = newId();
  await hq.site.db('agent_keys').insert({
    target_id: targetId,
    key_id: keyId,
    boot_id: newId(),
    state: 'bound',
    order_id: null,
    bound_at: hq.site.now(),
    seen_at: hq.site.now(),
    refused_key_id: null,
    refused_at: null,
  });
  return { caller: { certificate }, identity: { kind: 'agent', targetId, keyId } };
}

async function everybody(): Promise<readonly Case[]> {
  const anonymous: Identity = { kind: 'anonymous' };
  const found: Case[] = [{ name: 'nobody', caller: {}, identity: anonymous, code: 'denied' }];
  withCookie.length = 0;
  for (const role of OPERATORS) {
    const [token, identity] = await operatorToken(role);
    found.push({ name: `operator of role ${role}`, caller: { token }, identity });
    const cookie = (await signIn(hq.site, token)).cookie.split(';')[0] as string;
    const { port } = addressOf('api') as { port: number };
    found.push({ name: `browser of role ${role}`, caller: { cookie, origin: `https://127.0.0.1:${port}` }, identity });
    if (role === 'administrator') withCookie.push({ cookie }, { cookie, origin: `https://127.0.0.1:${port + 1}` });
  }
  const [expired] = await operatorToken('administrator', { expiresAt: hq.site.now() - 1 });
  const [revoked] = await operatorToken('administrator', { revoked: true });
  const child = await joinChild(hq.site, 'branch-1');
  const revokedChild = await joinChild(hq.site, 'branch-2');
  await revokeServer(hq.site, 'branch-2', 'test');
  const one = await boundAgent();
  const other = await boundAgent();
  found.push(
    { name: 'expired operator token', caller: { token: expired }, identity: anonymous, code: 'token_expired' },
    { name: 'revoked operator token', caller: { token: revoked }, identity: anonymous, code: 'token_wrong' },
    { name: 'unknown operator token', caller: { token: `wst_${'A'.repeat(43)}` }, identity: anonymous, code: 'token_wrong' },
    { name: 'token of another form', caller: { token: 'hello' }, identity: anonymous, code: 'token_wrong' },
    { name: 'child server', caller: { certificate: child.certificate }, identity: { kind: 'server', serverId: child.id } },
    { name: 'revoked server', caller: { certificate: revokedChild.certificate }, identity: anonymous, code: 'revoked' },
    { name: 'server of a foreign CA', caller: { certificate: await foreignCertificate(child.id) }, identity: anonymous, code: 'denied' },
    { name: "this server's own leaf as client", caller: { certificate: ownLeaf() }, identity: anonymous, code: 'denied' },
    {
      name: 'self-made key that is bound to nothing',
      caller: { certificate: (await selfMadeCertificate()).certificate },
      identity: anonymous,
      code: 'denied',
    },
    { name: 'agent of a target', ...one },
    { name: 'agent of another target', ...other },
  );
  return found;
}

function ownLeaf() {
  const { keyPem, certificatePem } = hq.site.keys.leaf();
  return { key: keyPem, cert: certificatePem };
}

/** A path that the route's pattern matches, for objects that do not exist. */
function examplePath(route: Pick<Route, 'path'>): string {
  return route.path.replaceAll(/[:*][A-Za-z]+/g, 'nothing');
}

function addressOf(kind: ListenerKind): { readonly port: number } | { readonly socketPath: string } {
  if (kind === 'local') return { socketPath: join(hq.dataDir, 'run', 'api.sock') };
  return { port: ((listening.get(kind) as Server).address() as AddressInfo).port };
}

test('every route and upgrade names an action of the table, and no two routes share an address', () => {
  const seen = new Set<string>();
  for (const route of routes) {
    assert.ok(ACTIONS.includes(route.action), `${route.method} ${route.path}`);
    const key = `${route.listener} ${route.method} ${route.path}`;
    assert.ok(!seen.has(key), `${key} is there twice`);
    seen.add(key);
  }
  for (const upgrade of UPGRADES) assert.ok(ACTIONS.includes(upgrade.action), upgrade.path);
});

test('the plain port carries only what everybody may read', () => {
  const open: readonly Action[] = ['health.read', 'boot.read'];
  for (const route of routes.filter((candidate) => candidate.listener === 'boot')) assert.ok(open.includes(route.action), route.path);
});

test('on HTTPS everybody reaches exactly what the table allows', async () => {
  let cells = 0;
  for (const { name, caller, identity, code } of cases) {
    for (const route of routes.filter((candidate) => candidate.listener === 'api')) {
      const answer = await ask({ ...addressOf('api'), tls: true, method: route.method, path: examplePath(route), caller });
      const cell = `${name}: ${route.method} ${route.path} → ${answer.status} ${answer.text.slice(0, 200)}`;
      if (authorise(identity, route.action)) {
        // Allowed by role; the object is not there or not theirs when the route names one.
        if (route.object) assert.ok([200, 403, 404].includes(answer.status), cell);
        else assert.deepEqual([answer.status, answer.json?.['reached']], [200, route.path], cell);
      } else {
        assert.ok(answer.status === 401 || answer.status === 403, cell);
        assert.equal(answer.json?.['code'], code ?? 'not_permitted', cell);
        assert.equal(answer.json?.['reached'], undefined, cell);
      }
      cells++;
    }
  }
  assert.ok(cells >= cases.length * 10);
});

test('a page of somebody else reaches nothing that changes something, whoever is signed in', async () => {
  const changing = routes.filter(
    ({ listener, method, action }) => listener === 'api' && method !== 'GET' && !authorise({ kind: 'anonymous' }, action),
  );
  assert.ok(changing.length > 20 && withCookie.length === 2);
  for (const caller of withCookie) {
    for (const route of changing) {
      const answer = await ask({ ...addressOf('api'), tls: true, method: route.method, path: examplePath(route), caller });
      assert.deepEqual([answer.status, answer.json?.['code']], [403, 'denied'], `${route.method} ${route.path}`);
    }
  }
});

test('an upgrade is reached by exactly those whom the table allows', async () => {
  for (const { name, caller, identity } of cases) {
    for (const upgrade of UPGRADES) {
      const answer = await askUpgrade({ ...addressOf('api'), path: upgrade.path, protocol: upgrade.protocol, caller });
      const isAllowed = authorise(identity, upgrade.action);
      assert.equal(answer.status === 101, isAllowed, `${name}: ${upgrade.path} → ${answer.status}`);
      if (!isAllowed) assert.ok(answer.status === 401 || answer.status === 403, `${name}: ${upgrade.path} → ${answer.status}`);
    }
    const unknown = await askUpgrade({ ...addressOf('api'), path: '/api/v1/none', protocol: 'none', caller });
    assert.equal(unknown.status, identity.kind === 'anonymous' ? unknown.status : 404);
    assert.notEqual(unknown.status, 101);
  }
});

test('on the unix socket its owner is an administrator and nothing more', async () => {
  for (const route of routes.filter((candidate) => candidate.listener === 'api')) {
    const answer = await ask({ ...addressOf('local'), method: route.method, path: examplePath(route), caller: {} });
    const isAllowed = authorise({ kind: 'local-admin' }, route.action);
    assert.equal(answer.status === 200, isAllowed, `${route.method} ${route.path} → ${answer.status}`);
  }
});

test('on the plain port no proof counts and nothing of the API is there', async () => {
  const administrator = cases.find((candidate) => candidate.name === 'operator of role administrator') as Case;
  for (const route of routes) {
    const answer = await ask({ ...addressOf('boot'), method: route.method, path: examplePath(route), caller: administrator.caller });
    const isThere = routes.some((other) => other.listener === 'boot' && other.path === route.path && other.method === route.method);
    assert.equal(answer.status, isThere ? 200 : 404, `${route.method} ${route.path}`);
  }
});

test('an unknown address says 401 to strangers and 404 to those who may ask', async () => {
  for (const { name, caller, identity, code } of cases) {
    const answer = await ask({ ...addressOf('api'), tls: true, method: 'GET', path: '/api/v1/none', caller });
    if (identity.kind === 'anonymous') assert.equal(answer.json?.['code'], code, name);
    else assert.equal(answer.status, 404, name);
  }
});

test('TFTP gives the loaders that there can be and nothing else, whatever the name', async () => {
  const files = loaderFiles(hq.site);
  for (const name of ['boot/amd64/undionly.kpxe', '/boot/amd64/snponly.efi']) assert.ok(parseLoaderName(name), name);
  for (const name of [
    'keys/ca.key',
    '../keys/ca.key',
    'boot/amd64/../../keys/ca.key',
    'boot/amd64/..',
    'boot/mips/undionly.kpxe',
    'boot/amd64/undionly.kpxe\0x',
    `${hq.dataDir}/keys/signing.key`,
    '/etc/passwd',
    '',
  ]) {
    assert.equal(await files.read(name), undefined, name);
  }
});
