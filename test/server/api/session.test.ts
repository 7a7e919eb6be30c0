import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { newId } from '../../../core/ids.ts';
import { hashToken } from '../../../server/api/token.ts';
import { listEvents } from '../../../server/db/events.ts';
import { createOperatorToken, listOperatorTokens, revokeOperatorToken } from '../../../server/db/operator-tokens.ts';
import { openConsoleFiles } from '../../../server/web/console-files.ts';
import { type Answer, ask } from './callers.ts';
import { serveTestSite } from './site.ts';

const HOUR_MS = 3_600_000;
let aheadMs = 0;
let hq: Awaited<ReturnType<typeof serveTestSite>>;
let port: number;

before(async () => {
  hq = await serveTestSite('hq', () => Date.now() + aheadMs);
  port = Number(new URL(hq.serving.httpsUrl).port);
});
after(() => hq.close());

type Sent = { readonly method?: string; readonly body?: unknown; readonly headers?: Record<string, string> };

function call(path: string, { method = 'GET', body, headers = {} }: Sent = {}): Promise<Answer> {
  const content = body === undefined ? {} : { 'content-type': 'application/json' };
  const host = { host: `127.0.0.1:${port}` };
  return ask({
    port,
    tls: true,
    method,
    path,
    caller: {},
    headers: { ...host, ...content, ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

const ours = () => `https://127.0.0.1:${port}`;
const signIn = (token: string, headers: Record<string, string> = {}) =>
  call('/api/v1/session', { method: 'POST', body: { token }, headers });
const cookieOf = (answer: Answer) => answer.headers['set-cookie']?.[0]?.split(';')[0] ?? '';

async function newToken(role: 'administrator' | 'viewer' = 'administrator', expiresAt: number | null = null) {
  const token = `wst_${newId().replaceAll('-', '')}${newId().replaceAll('-', '')}`;
  const id = newId();
  await createOperatorToken(hq.site.db, { id, name: 'anna', hash: hashToken(token), role, createdAt: hq.site.now(), expiresAt });
  return { token, id };
}

test('a token is exchanged for a cookie that no script reads and no other site sends, and only its hash is kept', async () => {
  const answer = await signIn(hq.operatorToken, { origin: ours() });
  assert.equal(answer.status, 200);
  assert.deepEqual([answer.json?.['name'], answer.json?.['role'], answer.json?.['server']], ['first', 'administrator', 'hq']);
  const set = answer.headers['set-cookie']?.[0] ?? '';
  assert.match(set, /^__Host-waystation-[0-9a-f]{12}=[A-Za-z0-9_-]{43}; Path=\/; Max-Age=28800; Secure; HttpOnly; SameSite=Strict$/);
  const value = cookieOf(answer).split('=')[1] ?? '';
  const rows = JSON.stringify(await hq.site.db('console_sessions'));
  assert.ok(rows.includes(hashToken(value)) && !rows.includes(value));
  const me = await call('/api/v1/session', { headers: { cookie: cookieOf(answer) } });
  assert.deepEqual([me.status, me.json?.['role']], [200, 'administrator']);
  const events = await listEvents(hq.site.db, { limit: 1000 });
  assert.ok(events.some(({ kind }) => kind === 'console.signed-in'));
});

test('a wrong, an expired and a revoked token open nothing, each in its own words', async () => {
  const expired = await newToken('administrator', hq.site.now() - 1);
  const revoked = await newToken();
  await revokeOperatorToken(hq.site.db, revoked.id, hq.site.now());
  const codes = [];
  for (const token of [`wst_${'A'.repeat(43)}`, 'hello', '', expired.token, revoked.token]) {
    const answer = await signIn(token);
    assert.equal(answer.status, 401);
    assert.equal(answer.headers['set-cookie'], undefined);
    codes.push([answer.json?.['code'], answer.json?.['detail']]);
  }
  const unknown = ['token_wrong', 'this server does not know the operator token'];
  assert.deepEqual(codes.slice(0, 3), [unknown, unknown, unknown]);
  assert.equal(codes[3]?.[0], 'token_expired');
  assert.deepEqual(codes[4], ['token_wrong', 'the operator token was revoked']);
});

test('a session may what its token may, and ends with it at once', async () => {
  const { token, id } = await newToken('viewer');
  const cookie = cookieOf(await signIn(token));
  const headers = { cookie, origin: ours() };
  assert.equal((await call('/api/v1/servers', { headers })).status, 200);
  const refused = await call('/api/v1/enrol-tokens', { method: 'POST', body: {}, headers });
  assert.deepEqual([refused.status, refused.json?.['code']], [403, 'not_permitted']);
  await revokeOperatorToken(hq.site.db, id, hq.site.now());
  const gone = await call('/api/v1/servers', { headers });
  assert.deepEqual([gone.status, gone.json?.['code']], [401, 'token_wrong']);
});

test('a session ends after eight hours, and before when its token does', async () => {
  const long = cookieOf(await signIn(hq.operatorToken));
  const short = await newToken('administrator', hq.site.now() + HOUR_MS);
  const answer = await signIn(short.token);
  assert.match(answer.headers['set-cookie']?.[0] ?? '', /Max-Age=3[56]\d\d;/);
  try {
    aheadMs = 7.9 * HOUR_MS;
    assert.equal((await call('/api/v1/session', { headers: { cookie: long } })).status, 200);
    assert.equal((await call('/api/v1/session', { headers: { cookie: cookieOf(answer) } })).json?.['code'], 'token_expired');
    aheadMs = 8 * HOUR_MS + 1000;
    assert.equal((await call('/api/v1/session', { headers: { cookie: long } })).json?.['code'], 'token_expired');
  } finally {
    aheadMs = 0;
  }
});

test('who signs out is out: the cookie is taken away and counts no more', async () => {
  const cookie = cookieOf(await signIn(hq.operatorToken));
  const out = await call('/api/v1/session', { method: 'DELETE', headers: { cookie, origin: ours() } });
  assert.equal(out.status, 204);
  assert.match(out.headers['set-cookie']?.[0] ?? '', /=; Path=\/; Max-Age=0; Secure/);
  assert.equal((await call('/api/v1/session', { headers: { cookie } })).status, 401);
});

test('what another page makes the browser send changes nothing, also from another port of this host', async () => {
  const cookie = cookieOf(await signIn(hq.operatorToken));
  for (const origin of [undefined, 'null', 'https://evil.example', `http://127.0.0.1:${port}`, `https://127.0.0.1:${port + 1}`]) {
    const headers = { cookie, ...(origin === undefined ? {} : { origin }) };
    const answer = await call('/api/v1/enrol-tokens', { method: 'POST', body: {}, headers });
    assert.deepEqual([answer.status, answer.json?.['code']], [403, 'denied'], origin ?? 'none');
  }
  assert.equal((await signIn(hq.operatorToken, { origin: 'https://evil.example' })).json?.['code'], 'denied');
  const own = await call('/api/v1/enrol-tokens', { method: 'POST', body: {}, headers: { cookie, origin: ours() } });
  assert.equal(own.status, 200);
});

test('a cookie is no way to a protocol of servers, and another server of this host has its own', async () => {
  const cookie = cookieOf(await signIn(hq.operatorToken));
  assert.equal((await call('/api/v1/sync/catalogue?protocol=1&epoch=0&since=0', { headers: { cookie } })).status, 403);
  const foreign = cookie.replace(/-[0-9a-f]{12}=/, '-0123456789ab=');
  assert.equal((await call('/api/v1/session', { headers: { cookie: foreign } })).json?.['code'], 'denied');
});

test('of one token the newest twenty sessions count', async () => {
  const { token } = await newToken();
  const cookies: string[] = [];
  for (let n = 0; n < 21; n++) cookies.push(cookieOf(await signIn(token)));
  const states = await Promise.all(
    [0, 1, 20].map(async (n) => (await call('/api/v1/session', { headers: { cookie: cookies[n] ?? '' } })).status),
  );
  assert.deepEqual(states, [401, 200, 200]);
  assert.ok((await listOperatorTokens(hq.site.db)).length > 0);
});

test('guessing is slowed down, for tokens and for cookies', async () => {
  const forged = () => `${cookieOf0()}=${newId().replaceAll('-', '')}${'x'.repeat(11)}`;
  const cookieOf0 = () => `__Host-waystation-${hq.site.self.id.slice(-12)}`;
  const answers = [];
  for (let n = 0; n < 40; n++)
    answers.push(n % 2 ? await signIn(`wst_${'B'.repeat(43)}`) : await call('/api/v1/servers', { headers: { cookie: forged() } }));
  assert.ok(answers.some(({ status }) => status === 429));
  assert.equal((await signIn(hq.operatorToken)).status, 200, 'a right token is not locked out');
});

test('the console page allows nothing that this server did not send, and its files only those of the build', async () => {
  const page = await call('/console/');
  assert.ok([200, 503].includes(page.status));
  assert.match(String(page.headers['content-security-policy']), /^default-src 'none'; script-src 'self'; style-src 'self';/);
  assert.equal((await call('/')).headers['location'], '/console/');
  for (const path of ['/console/..%2f..%2fpackage.json', '/console/assets/..%2findex.html', '/console/assets/none.js', '/console/%00']) {
    assert.equal((await call(path)).status, 404, path);
  }
});

test('files of the build are squeezed when the browser takes that, and what was not built is not there', async () => {
  const root = await mkdtemp(join(tmpdir(), 'ws-console-'));
  try {
    await mkdir(join(root, 'assets'));
    await writeFile(join(root, 'assets', 'a-1.js'), 'x'.repeat(10_000));
    await writeFile(join(root, 'secret.pem'), 'no');
    const files = openConsoleFiles(`${root}/`);
    const [plain, squeezed] = [await files.read('assets/a-1.js', false), await files.read('assets/a-1.js', true)];
    assert.deepEqual([plain?.octets.length, plain?.isLasting, plain?.type], [10_000, true, 'text/javascript; charset=utf-8']);
    assert.ok((squeezed?.octets.length ?? 0) < 100 && squeezed?.isSqueezed);
    for (const name of ['index.html', 'secret.pem', '../assets/a-1.js', 'assets/../a-1.js', '.html', 'assets/a-1..js']) {
      assert.equal(await files.read(name, true), undefined, name);
    }
  } finally {
    await rm(root, { recursive: true });
  }
});
