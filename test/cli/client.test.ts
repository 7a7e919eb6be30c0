import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { createServer as createHttp, type RequestListener } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, createServer as createStopped } from 'node:net';
import { join } from 'node:path';
import { after, it } from 'node:test';
import { connectLocal, connectUrl, isListening, socketPath } from '../../cli/client.ts';
import { newId } from '../../core/ids.ts';
import { createKeys } from '../../server/trust/keys.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

const seen: string[] = [];

const answer: RequestListener = async (request, response) => {
  seen.push(`${request.method} ${request.url} ${request.headers.authorization ?? ''}`);
  let body = '';
  for await (const chunk of request) body += chunk;
  if (request.url === '/api/v1/problem') {
    response.writeHead(409, { 'content-type': 'application/problem+json' });
    response.end(JSON.stringify({ status: 409, code: 'name_taken', detail: 'there is one already', hint: 'take another' }));
  } else if (request.url === '/api/v1/proxy') response.writeHead(502).end('<html>');
  else if (request.url === '/api/v1/slow') setTimeout(() => response.writeHead(204).end(), 1500);
  else if (request.url === '/api/v1/nothing') response.writeHead(204).end();
  else response.end(JSON.stringify({ method: request.method, body: body === '' ? null : JSON.parse(body) }));
};

const keys = await createKeys(await temporaryDirectory('keys'), newId(), Date.now());
const { certificatePem: cert, keyPem: key } = keys.leaf();
const server = createHttps({ cert, key }, answer).listen(0, '127.0.0.1');
await once(server, 'listening');
after(() => server.close());
const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;

it('speaks JSON both ways with a server whose CA is pinned', async () => {
  const client = connectUrl(url, { caPin: keys.caPin, token: 'wst_abc' });
  assert.deepEqual(await client.get('/api/v1/x'), { method: 'GET', body: null });
  assert.deepEqual(await client.post('/api/v1/x', { a: 1 }), { method: 'POST', body: { a: 1 } });
  assert.deepEqual(await client.delete('/api/v1/x'), { method: 'DELETE', body: null });
  assert.equal(await client.get('/api/v1/nothing'), undefined);
  assert.equal(seen.at(-1), 'GET /api/v1/nothing Bearer wst_abc');
});

it('turns a problem document back into the error it was', async () => {
  const client = connectUrl(url, { caPin: keys.caPin });
  await assert.rejects(client.get('/api/v1/problem'), { code: 'name_taken', message: 'there is one already', hint: 'take another' });
  await assert.rejects(client.get('/api/v1/proxy'), { code: 'failed', message: 'the server answered 502' });
});

it('sends nothing to a server that is not the pinned one, nor to one that no CA vouches for', async () => {
  const seenBefore = seen.length;
  const stranger = await createKeys(await temporaryDirectory('keys'), newId(), Date.now());
  await assert.rejects(connectUrl(url, { caPin: stranger.caPin, token: 'wst_abc' }).get('/api/v1/x'), { code: 'denied' });
  await assert.rejects(connectUrl(url, { token: 'wst_abc' }).get('/api/v1/x'), { code: 'denied', hint: /--ca-pin/ });
  assert.equal(seen.length, seenBefore);
});

it('says that nothing is there', async () => {
  await assert.rejects(connectUrl('https://127.0.0.1:1', { caPin: keys.caPin }).get('/api/v1/x'), { code: 'unreachable' });
  await assert.rejects(async () => connectUrl('http://127.0.0.1'), { code: 'usage' });
});

it('finds a running server by its socket, and not one that died', async () => {
  const dir = await temporaryDirectory('socket');
  await mkdir(join(dir, 'run'));
  assert.equal(await isListening(dir), false);
  await assert.rejects(connectLocal(dir), { code: 'not_running' });
  const server = createHttp(answer).listen(socketPath(dir));
  await once(server, 'listening');
  assert.equal(await isListening(dir), true);
  assert.deepEqual(await (await connectLocal(dir)).put('/api/v1/x', { b: 2 }), { method: 'PUT', body: { b: 2 } });
  server.close();
  await once(server, 'close');
  assert.equal(await isListening(dir), false);
});

it('waits for a slow answer of a server that lives, and gives up on one that takes connections and says nothing', async () => {
  const dir = await temporaryDirectory('socket');
  await mkdir(join(dir, 'run'));
  const server = createHttp(answer).listen(socketPath(dir));
  await once(server, 'listening');
  assert.equal(await (await connectLocal(dir, 500)).get('/api/v1/slow'), undefined);
  server.close();
  await once(server, 'close');
  // As the kernel does it for a stopped process.
  const stopped = createStopped(() => undefined).listen(socketPath(dir));
  await once(stopped, 'listening');
  after(() => stopped.close());
  await assert.rejects((await connectLocal(dir, 200)).get('/api/v1/x'), { code: 'unreachable', message: /does not answer/ });
});
