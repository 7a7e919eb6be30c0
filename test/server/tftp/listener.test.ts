import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import type { TftpServer } from '../../../server/tftp/listener.ts';
import { encodeAck, encodeData, encodeRequest, TFTP_ERROR } from '../../../server/tftp/packet.ts';
import { waitUntil } from '../../helpers/wait-until.ts';
import { openClient, read, serveFiles } from './helpers.ts';

const content = Buffer.from(Array.from({ length: 1_300 }, (_, index) => index % 256));
let server: TftpServer;
before(async () => {
  server = await serveFiles({ file: content, empty: Buffer.alloc(0) });
});
after(() => server.close());

test('a packet of a stranger gets error 5 and the session lives', async () => {
  const [client, stranger] = [await openClient(), await openClient()];
  client.send(read('file'), server.port);
  const first = await client.next();
  assert.deepEqual(first.packet, { kind: 'data', block: 1, data: content.subarray(0, 512) });
  assert.notEqual(first.port, server.port, 'a transfer has a port of its own');
  stranger.send(encodeAck(1), first.port);
  const refusal = await stranger.next();
  assert.ok(refusal.packet.kind === 'error' && refusal.packet.code === TFTP_ERROR.unknownTransfer);
  client.send(encodeAck(1), first.port);
  assert.deepEqual((await client.next()).packet, { kind: 'data', block: 2, data: content.subarray(512, 1_024) });
  client.send(encodeAck(2), first.port);
  assert.deepEqual((await client.next()).packet, { kind: 'data', block: 3, data: content.subarray(1_024) });
  client.send(encodeAck(3), first.port);
  await waitUntil('the session is gone', async () => server.sessions() === 0, { limitMs: 2_000, everyMs: 5, despiteErrors: true });
  client.close();
  stranger.close();
});

for (const [name, packet, code] of [
  ['writing', encodeRequest({ kind: 'write', file: 'file', mode: 'octet', options: new Map() }), TFTP_ERROR.denied],
  ['netascii', read('file', {}, 'netascii'), TFTP_ERROR.illegal],
  ['mail', read('someone', {}, 'mail'), TFTP_ERROR.illegal],
  ['a file that is not there', read('other'), TFTP_ERROR.notFound],
  ['a path out of the tree', read('../../etc/passwd'), TFTP_ERROR.notFound],
  ['a dotted path that a filter would join', read('....//....//etc/passwd'), TFTP_ERROR.notFound],
] as const) {
  test(`${name} is refused with error ${code}, from the request port, and leaves no session`, async () => {
    const client = await openClient();
    client.send(packet, server.port);
    const { packet: answer, port } = await client.next();
    assert.ok(answer.kind === 'error' && answer.code === code);
    assert.equal(port, server.port);
    assert.equal(server.sessions(), 0);
    client.close();
  });
}

test('broken packets are dropped and the next request is served', async () => {
  const client = await openClient();
  for (const junk of ['', '00', '0001', 'ffff00', '00016669', '0009ffffffff']) client.send(Buffer.from(junk, 'hex'), server.port);
  client.send(encodeData(1, Buffer.alloc(10)), server.port);
  client.send(read('empty', { blksize: '1024' }), server.port);
  const { packet, port } = await client.next();
  assert.deepEqual(packet, { kind: 'oack', options: new Map([['blksize', '1024']]) });
  client.send(encodeAck(0), port);
  assert.deepEqual((await client.next()).packet, { kind: 'data', block: 1, data: Buffer.alloc(0) });
  client.send(encodeAck(1), port);
  client.close();
});

test('a request that is repeated while its answer is under way opens one session', async () => {
  const client = await openClient();
  const own = await serveFiles({ file: content });
  for (let n = 0; n < 5; n += 1) client.send(read('file'), own.port);
  const { port } = await client.next();
  assert.equal(own.sessions(), 1);
  assert.equal(client.waiting(), 0);
  client.send(encodeAck(1), port);
  client.send(encodeAck(1), port);
  client.send(encodeAck(1), port);
  await client.next();
  client.send(encodeAck(2), port);
  await client.next();
  assert.equal(client.waiting(), 0, 'repeated acknowledgements sent nothing again');
  client.close();
  await own.close();
});

test('a lost first packet is sent again after about 200 ms', async () => {
  const client = await openClient();
  client.send(read('file'), server.port);
  const started = performance.now();
  const first = await client.next();
  assert.deepEqual((await client.next()).packet, first.packet);
  const waited = performance.now() - started;
  assert.ok(waited > 150 && waited < 1_500, `${waited} ms`);
  client.close();
});

test('forged requests from many addresses take bounded memory, and a real client is served meanwhile', async () => {
  const limits = { total: 200, perAddress: 3 };
  const small = await serveFiles({ file: content }, { limits });
  let answers = 0;
  let octets = 0;
  const sockets = await Promise.all(
    Array.from({ length: 100 }, async (_, index) => {
      const socket = createSocket('udp4');
      socket.bind(0, `127.0.1.${index + 1}`);
      await once(socket, 'listening');
      socket.on('message', (bytes) => {
        answers += 1;
        octets += bytes.length;
      });
      return socket;
    }),
  );
  const request = read('file', { blksize: '1024' });
  for (let round = 0; round < 20; round += 1) {
    for (const socket of sockets) socket.send(request, small.port, '127.0.0.1');
    await new Promise((resolve) => setImmediate(resolve));
  }
  await waitUntil('the flood arrives', async () => answers >= 100, { limitMs: 5_000, everyMs: 5, despiteErrors: true });
  assert.ok(small.sessions() <= limits.total);
  const client = await openClient();
  client.send(read('file'), small.port);
  const { port } = await client.next();
  client.send(encodeAck(1), port);
  await client.next();
  assert.ok(octets <= answers * 64, 'before the first acknowledgement only option acknowledgements go out');
  client.close();
  for (const socket of sockets) socket.close();
  await small.close();
});

test('one address cannot take all sessions', async () => {
  const small = await serveFiles({ file: content }, { limits: { total: 100, perAddress: 3 } });
  const clients = await Promise.all(Array.from({ length: 10 }, openClient));
  for (const client of clients) client.send(read('file'), small.port);
  await waitUntil('some are served', async () => clients.filter((client) => client.waiting() > 0).length >= 3, {
    limitMs: 2_000,
    everyMs: 5,
    despiteErrors: true,
  });
  assert.equal(small.sessions(), 3);
  for (const client of clients) client.close();
  await small.close();
});

test('a port that is taken is told with its number', async () => {
  await assert.rejects(serveFiles({}, { port: server.port }), (error: { code?: string; message?: string }) => {
    assert.equal(error.code, 'port_in_use');
    assert.match(error.message ?? '', new RegExp(String(server.port)));
    return true;
  });
});

test('closing twice is harmless', async () => {
  const once_ = await serveFiles({});
  await once_.close();
  await once_.close();
});

test('a file that is still being read when the server closes is answered by nobody', async () => {
  const { promise: asked, resolve: ask } = Promise.withResolvers<void>();
  const { promise: content, reject: fail } = Promise.withResolvers<Buffer>();
  const reading = async () => {
    ask();
    return content;
  };
  const closing = await serveFiles({}, { files: { read: reading } });
  const client = await openClient();
  client.send(read('file'), closing.port);
  await asked;
  await closing.close();
  // As the store does when it is closed under a reader. A throw from here on would be nobody's, and end the process.
  fail(new Error('closed'));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(closing.sessions(), 0);
  client.close();
});
