import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { listEvents } from '../../server/db/events.ts';
import type { Serving } from '../../server/serve.ts';
import { hashOf } from '../helpers/digests.ts';
import { runCli, runJson } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { ask } from '../server/api/callers.ts';
import { serveTestSite, type TestSite } from '../server/api/site.ts';

const root = await temporaryDirectory('token');
let aheadMs = 0;
let hq: TestSite & { readonly serving: Serving };

before(async () => {
  hq = await serveTestSite('hq', () => Date.now() + aheadMs);
});
after(() => hq.close());

type Made = { readonly id: string; readonly token: string; readonly role: string; readonly expiresAt: string | null };
type Listed = { readonly items: { name: string; role: string; state: string; lastUsedAt: string | null; id: string }[] };
const local = (...argv: string[]) => runJson<Made>(['--data', hq.dataDir, 'token', ...argv]);
const listed = async () => (await runJson<Listed>(['--data', hq.dataDir, 'token', 'list'])).document.items;
const port = () => Number(new URL(hq.serving.httpsUrl).port);
const call = (token: string, method: string, path: string, body?: object) =>
  ask({
    ...{ port: port(), tls: true, method, path, caller: { token } },
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });

test('a token is made with a name and the least of roles, shown once, and only its hash is kept', async () => {
  const { code, document: made } = await local('create', 'monitoring');
  assert.equal(code, 0);
  assert.match(made.token, /^wst_[A-Za-z0-9_-]{43}$/);
  assert.deepEqual([made.role, made.expiresAt], ['viewer', null]);
  const row = await hq.site.db('operator_tokens').where({ name: 'monitoring' }).first();
  assert.equal(row?.['hash'], hashOf(made.token));
  const shown = await runCli(['--data', hq.dataDir, 'token', 'list']);
  assert.match(shown.stdout, /^monitoring +viewer +active/m);
  assert.ok(!`${shown.stdout}${JSON.stringify(await listed())}`.includes(made.token.slice(4)));
  assert.equal((await call(made.token, 'GET', '/api/v1/servers')).status, 200);
  assert.equal((await call(made.token, 'POST', '/api/v1/enrol-tokens', {})).status, 403);
});

test('a name in force is not given twice, and names and roles that are none are refused', async () => {
  assert.equal((await local('create', 'monitoring')).code, 65);
  assert.equal((await local('create', 'Not A Name')).code, 64);
  assert.equal((await runCli(['--data', hq.dataDir, 'token', 'create', 'x', '--role', 'root'])).code, 64);
  assert.equal((await runCli(['--data', hq.dataDir, 'token', 'create', 'x', '--ttl', '9999d'])).code, 64);
});

test('it goes into a new file that its owner alone can read, and then it is not printed', async () => {
  const file = join(root, 'operator.token');
  const made = await runCli(['--data', hq.dataDir, 'token', 'create', 'night-shift', '--role', 'operator', '--file', file]);
  assert.equal(made.code, 0, made.stderr);
  const text = await readFile(file, 'utf8');
  assert.match(text, /^wst_[A-Za-z0-9_-]{43}\n$/);
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  assert.ok(!`${made.stdout}${made.stderr}`.includes(text.trim().slice(4)));
  assert.equal((await runCli(['--data', hq.dataDir, 'token', 'create', 'other', '--file', file])).code, 64);
  assert.equal(await readFile(file, 'utf8'), text, 'what is there is left alone');
  assert.equal((await runCli(['--data', hq.dataDir, 'token', 'create', 'other', '--file', join(root, 'nowhere', 'x')])).code, 64);
  assert.ok(!(await listed()).some(({ name }) => name === 'other'), 'a file that cannot be made costs no token');
  const env = { WAYSTATION_CA_PIN: hq.site.keys.caPin };
  const used = await runJson(['--url', hq.serving.httpsUrl, '--token-file', file, 'server', 'list'], { env });
  assert.equal(used.code, 0);
});

test('who used a token last, to the minute, is seen in the list', async () => {
  const before = await listed();
  assert.equal(before.find(({ name }) => name === 'first')?.lastUsedAt, null);
  const used = before.find(({ name }) => name === 'monitoring')?.lastUsedAt ?? '';
  assert.ok(Math.abs(Date.parse(used) - Date.now()) < 60_000);
  const { document: made } = await local('create', 'script');
  const usedAt = async () => (await listed()).find(({ name }) => name === 'script')?.lastUsedAt;
  await call(made.token, 'GET', '/api/v1/servers');
  const first = await usedAt();
  await call(made.token, 'GET', '/api/v1/servers');
  assert.equal(await usedAt(), first, 'not every request is written');
  aheadMs = 61_000;
  await call(made.token, 'GET', '/api/v1/servers');
  assert.ok(Date.parse((await usedAt()) ?? '') > Date.parse(first ?? ''));
});

test('a revoked token is refused at once, its browsers are signed out, and its name is free again', async () => {
  const { document: made } = await local('create', 'anna', '--role', 'administrator');
  const signedIn = await call('', 'POST', '/api/v1/session', { token: made.token });
  const cookie = signedIn.headers['set-cookie']?.[0]?.split(';')[0] ?? '';
  const look = () => ask({ port: port(), tls: true, method: 'GET', path: '/api/v1/servers', caller: { cookie } });
  assert.equal((await look()).status, 200);
  assert.equal((await runCli(['--data', hq.dataDir, 'token', 'revoke', 'anna'])).code, 64, 'it asks, and needs --yes elsewhere');
  const revoked = await local('revoke', 'anna', '--yes');
  assert.equal(revoked.code, 0);
  assert.equal((await call(made.token, 'GET', '/api/v1/servers')).status, 401);
  assert.equal((await look()).status, 401);
  assert.equal((await hq.site.db('console_sessions').where({ token_id: made.id })).length, 0);
  assert.equal((await local('revoke', made.id, '--yes')).code, 0, 'again is harmless');
  assert.equal((await local('revoke', 'nobody', '--yes')).code, 66);
  assert.equal((await local('create', 'anna')).code, 0);
  const kinds = (await listEvents(hq.site.db)).filter(({ kind }) => kind.startsWith('token.'));
  const ofAnna = kinds.filter(({ data }) => (data as { name?: string }).name === 'anna').map(({ kind, data }) => [kind, data]);
  assert.deepEqual(ofAnna, [
    ['token.created', { name: 'anna', role: 'administrator', expiresAt: null }],
    ['token.revoked', { name: 'anna', sessions: 1 }],
    ['token.created', { name: 'anna', role: 'viewer', expiresAt: null }],
  ]);
});

test('one that has expired is said to be, and only administrators make and see tokens', async () => {
  const { document: short } = await local('create', 'short', '--ttl', '1h', '--role', 'operator');
  assert.equal((await call(short.token, 'GET', '/api/v1/operator-tokens')).status, 403);
  assert.equal((await call(short.token, 'POST', '/api/v1/operator-tokens', { name: 'mine' })).status, 403);
  aheadMs += 3_600_001;
  assert.equal((await call(short.token, 'GET', '/api/v1/servers')).json?.['code'], 'token_expired');
  assert.equal((await listed()).find(({ name }) => name === 'short')?.state, 'expired');
  const remote = await call(hq.operatorToken, 'POST', '/api/v1/operator-tokens', { name: 'short', role: 'operator', ttlSeconds: 60 });
  assert.deepEqual([remote.status, remote.json?.['role']], [200, 'operator']);
});

test('without a running server it works on the directory', async () => {
  const dir = join(root, 'resting');
  assert.equal((await runCli(['init', '--data', dir, '--name', 'resting'])).code, 0);
  const { code, document: made } = await runJson<Made>(['--data', dir, 'token', 'create', 'keeper', '--role', 'administrator']);
  assert.deepEqual([code, made.role], [0, 'administrator']);
  assert.equal((await runCli(['--data', dir, 'token', 'revoke', 'first', '--yes'])).code, 0);
});
