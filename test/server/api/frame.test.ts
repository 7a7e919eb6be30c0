import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { z } from 'zod';
import { AppError, type ErrorCode, EXIT_CODES } from '../../../core/errors.ts';
import { createApp } from '../../../server/api/app.ts';
import { problemOf } from '../../../server/api/errors.ts';
import { closeListener, createPlainListener, createTlsListener, listenOnPort } from '../../../server/api/listeners.ts';
import { createMetrics } from '../../../server/api/metrics.ts';
import { openApiDocument } from '../../../server/api/openapi.ts';
import { originOf } from '../../../server/api/origin.ts';
import { Reply, type Route, type RouteContext, route } from '../../../server/api/route.ts';
import { allRoutes } from '../../../server/api/routes/index.ts';
import { startListeners } from '../../../server/api/start.ts';
import { waitUntil } from '../../helpers/wait-until.ts';
import { ask } from './callers.ts';
import { openTestSite, type TestSite } from './site.ts';

let hq: TestSite;
let server: Server;
let port: number;
let lastContext: RouteContext | undefined;
let aborts = 0;

const post = (path: string, input: Route['input'], handle: Route['handle']): Route =>
  route({ method: 'POST', path, listener: 'api', action: 'server.write', summary: path, ...(input ? { input } : {}), handle });

const PROBES: readonly Route[] = [
  post('/echo', z.object({ text: z.string().max(5) }), async (context, input) => {
    lastContext = context;
    return input;
  }),
  post('/large', z.object({ text: z.string() }), async () => ({})),
  post('/bug', undefined, async () => {
    throw new Error('a secret detail of ours');
  }),
  post('/full', undefined, async () => {
    throw new AppError('disk_full', 'no space left', { hint: 'free some' });
  }),
  post('/nothing', undefined, async () => undefined),
  post('/breaks', undefined, async () => new Reply(200, brokenStream(), { 'content-type': 'application/octet-stream' })),
  post('/waits', undefined, (context) => new Promise((resolve) => context.signal.addEventListener('abort', () => resolve(++aborts)))),
  route({
    method: 'GET',
    path: '/items/:id',
    listener: 'api',
    action: 'server.read',
    summary: 'one',
    input: z.object({ page: z.coerce.number().int().optional() }),
    handle: async ({ params, query }, input) => ({ params, query, input }),
  }),
];

function brokenStream(): Readable {
  let sent = 0;
  return new Readable({
    read() {
      if (sent++ < 3) this.push(Buffer.alloc(1000));
      else this.destroy(new Error('the disk broke'));
    },
  });
}

before(async () => {
  hq = await openTestSite();
  server = createTlsListener(
    hq.site.keys.leaf(),
    createApp({ site: hq.site, listener: 'api', findAgent: async () => undefined, failuresPerMinute: 5 }, PROBES),
  ) as unknown as Server;
  port = await listenOnPort(server, 0, 'httpsPort');
});
after(async () => {
  await closeListener(server, 100);
  await hq.close();
});

function send(
  path: string,
  body?: string,
  headers: Record<string, string> = { 'content-type': 'application/json' },
  token = hq.operatorToken,
) {
  return ask({ port, tls: true, method: 'POST', path, caller: { token }, headers, ...(body === undefined ? {} : { body }) });
}

test('input is checked before the handler sees it, and the answer names what is wrong', async () => {
  assert.deepEqual((await send('/echo', '{"text":"abc"}')).json, { text: 'abc' });
  for (const [body, part] of [
    ['{"text":"abcdef"}', 'text'],
    ['{}', 'text'],
    ['[]', 'request'],
    ['', 'text'],
  ] as const) {
    const answer = await send('/echo', body);
    assert.deepEqual([answer.status, answer.json?.['code']], [400, 'usage'], body);
    assert.match(String(answer.json?.['detail']), new RegExp(part));
  }
});

test('broken JSON, another content type and too large a body are told apart and never reach the handler', async () => {
  assert.equal((await send('/echo', '{"text":')).status, 400);
  const form = await send('/echo', 'text=abc', { 'content-type': 'application/x-www-form-urlencoded' });
  assert.deepEqual([form.status, form.json?.['code']], [400, 'usage']);
  const large = await send('/large', JSON.stringify({ text: 'x'.repeat(1_100_000) }));
  assert.deepEqual([large.status, large.json?.['code']], [413, 'usage']);
  assert.equal((await send('/large', JSON.stringify({ text: 'x'.repeat(1_000_000) }))).status, 200);
});

test('a failure of ours says no more than where the log has it; a failure in words keeps code, words and hint', async () => {
  const bug = await send('/bug');
  assert.equal(bug.status, 500);
  assert.equal(bug.headers['content-type'], 'application/problem+json');
  assert.ok(!bug.text.includes('secret detail'));
  const full = await send('/full');
  assert.equal(full.status, 507);
  assert.deepEqual([full.json?.['code'], full.json?.['detail'], full.json?.['hint']], ['disk_full', 'no space left', 'free some']);
  assert.equal((await send('/nothing')).status, 204);
});

test('a failed statement does not tell its values to the log', async () => {
  const secret = 'canary-of-a-nonce';
  await assert.rejects(
    hq.site.db('orders').insert({ id: 'x', nonce: secret }),
    (error) => !String((error as Error).stack).includes(secret),
  );
});

test('every error code has a status, and only our own failures are 500', () => {
  for (const code of Object.keys(EXIT_CODES) as ErrorCode[]) {
    const { status } = problemOf(new AppError(code, 'x'), hq.site.log);
    assert.ok(status >= 400 && status <= 507, code);
  }
});

test('an answer that breaks half way breaks the connection, so that nobody takes it for whole', async () => {
  await assert.rejects(send('/breaks'));
});

test('a handler hears when its client goes away', async () => {
  const abort = new AbortController();
  const waiting = fetchAborted(abort.signal);
  setTimeout(() => abort.abort(), 100);
  await waiting;
  await waitUntil('it hears', () => aborts > 0);
});

async function fetchAborted(signal: AbortSignal): Promise<void> {
  const { request } = await import('node:https');
  const headers = { authorization: `Bearer ${hq.operatorToken}` };
  const sent = request({
    port,
    host: '127.0.0.1',
    path: '/waits',
    method: 'POST',
    rejectUnauthorized: false,
    agent: false,
    headers,
    signal,
  });
  await new Promise<void>((resolve) => {
    sent.once('error', () => resolve());
    sent.end();
  });
}

test('path, query and repeated query members arrive as text; HEAD sends no body', async () => {
  const caller = { token: hq.operatorToken };
  const answer = await ask({ port, tls: true, method: 'GET', path: '/items/a%2Fb?page=2&x=1&x=2', caller });
  assert.deepEqual(answer.json, { params: { id: 'a/b' }, query: { page: '2', x: '2' }, input: { page: 2 } });
  const head = await ask({ port, tls: true, method: 'HEAD', path: '/items/a', caller });
  assert.deepEqual([head.status, head.text], [200, '']);
});

test('the origin is the Host header when that is a host, else the address of the socket', async () => {
  for (const [host, expected] of [
    ['hq.example:8443', 'https://hq.example:8443'],
    ['10.0.2.2:1', 'https://10.0.2.2:1'],
    ['[fe80::1]:443', 'https://[fe80::1]:443'],
    ['x"; reboot', `https://127.0.0.1:${port}`],
    ['a/b', `https://127.0.0.1:${port}`],
    ['user@evil', `https://127.0.0.1:${port}`],
  ] as const) {
    await send('/echo', '{"text":"abc"}', { 'content-type': 'application/json', host });
    assert.equal(lastContext?.origin, expected, host);
    assert.equal(lastContext?.remoteAddress, '127.0.0.1');
  }
  const socket = { localAddress: '::ffff:10.0.0.1', localPort: 80 };
  assert.equal(originOf({ headers: {}, socket } as never, 'http', 'none'), 'http://10.0.0.1:80');
});

test('wrong tokens are slowed down whatever X-Forwarded-For says, and a good token passes all the same', async () => {
  const statuses: number[] = [];
  for (let n = 0; n < 8; n++) {
    const headers = { 'content-type': 'application/json', 'x-forwarded-for': `10.0.0.${n}` };
    statuses.push((await send('/echo', '{"text":"a"}', headers, `wst_${'B'.repeat(43)}`)).status);
  }
  assert.deepEqual(statuses, [401, 401, 401, 401, 401, 429, 429, 429]);
  assert.equal((await send('/echo', '{"text":"a"}')).status, 200);
});

test('answers carry protective headers and do not name their software', async () => {
  const { headers } = await send('/echo', '{"text":"a"}');
  assert.equal(headers['x-powered-by'], undefined);
  assert.equal(headers['x-content-type-options'], 'nosniff');
  assert.match(String(headers['content-security-policy']), /default-src 'none'/);
  assert.equal(headers['cache-control'], 'no-store');
});

test('TLS 1.2 is refused', async () => {
  const refused = await new Promise<boolean>((resolve) => {
    const socket = connectTls({ port, host: '127.0.0.1', maxVersion: 'TLSv1.2', rejectUnauthorized: false });
    socket.once('secureConnect', () => resolve(false));
    socket.once('error', () => resolve(true));
  });
  assert.ok(refused);
});

test('a port in use names the port and the setting, and what was opened before is closed again', async () => {
  const squatter = createServer().listen(0);
  await new Promise((resolve) => squatter.once('listening', resolve));
  const taken = (squatter.address() as AddressInfo).port;
  const site = { ...hq.site, config: { ...hq.site.config, httpsPort: taken } };
  const options = { findAgent: async () => undefined, socketPath: join(hq.dataDir, 'run', 'x.sock'), graceMs: 100 };
  await assert.rejects(startListeners(site, options), (error) => {
    assert.ok(error instanceof AppError && error.code === 'port_in_use');
    assert.match(error.message, new RegExp(`${taken}.*httpsPort`));
    assert.match(error.hint ?? '', /httpsPort/);
    return true;
  });
  await new Promise((resolve) => squatter.close(resolve));
  const listeners = await startListeners(site, options);
  assert.equal(listeners.site.config.httpsPort, taken);
  assert.equal((await stat(options.socketPath)).mode & 0o777, 0o600);
  await listeners.close();
  await assert.rejects(stat(options.socketPath), 'the socket file is gone with the server');
});

test('closing waits for a running answer no longer than its grace', async () => {
  const handler = () => undefined;
  const listener = createPlainListener(handler);
  const own = await listenOnPort(listener, 0, 'httpPort');
  const hanging = ask({ port: own, method: 'GET', path: '/', caller: {} }).catch((error: unknown) => error);
  await new Promise((resolve) => listener.once('request', resolve));
  const started = performance.now();
  await closeListener(listener, 200);
  assert.ok(performance.now() - started < 2000);
  assert.ok((await hanging) instanceof Error);
});

test('the OpenAPI document names every API route with its schemas', () => {
  const routes = allRoutes(createMetrics());
  const document = JSON.parse(JSON.stringify(openApiDocument(routes, '0.1.0'))) as {
    openapi: string;
    paths: Record<string, Record<string, { requestBody?: { content: Record<string, { schema: { type?: string } }> } }>>;
  };
  assert.equal(document.openapi, '3.1.0');
  for (const { path, method, listener } of routes) {
    if (listener === 'api') assert.ok(document.paths[path.replaceAll(/[:*]([A-Za-z]+)/g, '{$1}')]?.[method.toLowerCase()], path);
  }
  const enrol = document.paths['/api/v1/enrol']?.['post']?.requestBody?.content['application/json']?.schema;
  assert.equal(enrol?.type, 'object');
});
