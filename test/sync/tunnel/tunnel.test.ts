import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex, PassThrough, Readable, Writable } from 'node:stream';
import { after, test } from 'node:test';
import { daemonConfig } from '../../../sync/tunnel/daemon-config.ts';
import { encodeFrame, WAITING_BYTES, WINDOW_BYTES } from '../../../sync/tunnel/frames.ts';
import { openPipeListener } from '../../../sync/tunnel/pipe-listener.ts';
import { fetchPart, startDaemon } from '../../../sync/tunnel/rsync-process.ts';
import { runTunnel } from '../../../sync/tunnel/tunnel.ts';
import { socketPair } from '../../helpers/socket-pair.ts';
import { waitUntil } from '../../helpers/wait-until.ts';

const root = await mkdtemp(join(tmpdir(), "waystation tunnel's "));
after(() => rm(root, { recursive: true, force: true }));

async function makeParts(name: string, content: Buffer): Promise<{ config: string; part: string; directory: string }> {
  const base = join(root, name);
  const parts = join(base, 'parts');
  await mkdir(parts, { recursive: true, mode: 0o755 });
  const part = createHash('sha256').update(content).digest('hex');
  await writeFile(join(parts, part), content, { mode: 0o644 });
  const config = join(base, 'rsyncd.conf');
  await writeFile(config, daemonConfig({ directory: parts, asRoot: process.getuid?.() === 0 }));
  const directory = join(base, 'incoming');
  await mkdir(directory);
  return { config, part, directory };
}

/** One rsync through pipe, listener and both tunnel ends; gives its end and what the link carried. */
async function transfer(
  made: { config: string; part: string; directory: string },
  hooks: { onBytes?: (sum: number, link: Socket) => void } = {},
) {
  const pipes = await openPipeListener(join(root, `${made.part.slice(0, 8)}.sock`));
  const [child, parent] = await socketPair();
  const daemon = startDaemon(made.config);
  const parentSide = runTunnel({ link: parent, input: daemon.output, output: daemon.input })
    .catch((error) => error)
    .finally(() => daemon.kill());
  let received = 0;
  let childSide: Promise<unknown> = Promise.resolve();
  const { ticket } = pipes.issue((socket) => {
    const onData = (bytes: { received: number }) => {
      received += bytes.received;
      hooks.onBytes?.(received, child);
    };
    childSide = runTunnel({ link: child, input: socket, output: socket, onData }).catch((error) => error);
  });
  const lock = await open(made.directory, 'r');
  const request = {
    part: made.part,
    sizeBytes: 10_000_000,
    directory: made.directory,
    socketPath: pipes.path,
    ticket,
    lock,
    signal: new AbortController().signal,
  };
  const end = await fetchPart(request);
  const outcome = { end, received, child: await childSide, parent: await parentSide, daemon: await daemon.ended };
  await lock.close();
  await pipes.close();
  return outcome;
}

test('rsync fetches a part through the tunnel, from a directory with spaces and quotes', async () => {
  const content = randomBytes(3_000_000);
  const made = await makeParts('whole', content);
  const { end, child, parent, received } = await transfer(made);
  assert.deepEqual(end, { status: 0, words: '' });
  assert.equal(child, undefined);
  assert.equal(parent, undefined);
  assert.ok(content.equals(await readFile(join(made.directory, made.part))));
  assert.ok(received < content.length * 1.02, `${received} bytes for ${content.length}`);
});

test('a link that breaks leaves a beginning, and the next rsync sends no more than the window and its own buffer again', async () => {
  const content = randomBytes(6_000_000);
  const made = await makeParts('broken', content);
  const first = await transfer(made, { onBytes: (sum, link) => sum > 2_500_000 && link.destroy() });
  assert.notEqual(first.end.status, 0);
  assert.equal((first.child as { code?: string }).code, 'unreachable');
  const held = (await stat(join(made.directory, made.part))).size;
  assert.ok(first.received - held < WINDOW_BYTES + 262_144 + 65_536, `${first.received - held} bytes of ${first.received} were lost`);
  const second = await transfer(made);
  assert.equal(second.end.status, 0);
  assert.ok(second.received < content.length - held + 100_000);
  assert.ok(content.equals(await readFile(join(made.directory, made.part))));
});

test('a tunnel that is begun before its turn brings no more than a greeting until then, and never more than a window', async () => {
  const [child, parent] = await socketPair();
  let sent = 0;
  const input = Readable.from([randomBytes(4_000_000)]);
  const sending = runTunnel({
    link: parent,
    input,
    output: new PassThrough(),
    credit: WAITING_BYTES,
    onData: (bytes) => (sent += bytes.sent),
  });
  const turn = Promise.withResolvers<number>();
  const rest = Promise.withResolvers<number>();
  let taken = () => undefined as unknown;
  const stuck = new Writable({
    highWaterMark: 1,
    write: (_chunk, _encoding, done) => {
      taken = done;
    },
  });
  const receiving = runTunnel({ link: child, input: new PassThrough(), output: stuck, keptBack: [turn.promise, rest.promise] });
  const until = async (bytes: number) => {
    await waitUntil(`${bytes} bytes are sent`, () => sent >= bytes, { everyMs: 1, during: sending, state: () => sent });
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(sent, bytes);
  };
  await until(WAITING_BYTES);
  turn.resolve(WINDOW_BYTES / 2 - WAITING_BYTES);
  await until(WINDOW_BYTES / 2);
  rest.resolve(WINDOW_BYTES / 2);
  await until(WINDOW_BYTES);
  taken();
  await until(WINDOW_BYTES + WAITING_BYTES);
  for (const end of [child, parent]) end.destroy();
  for (const { status } of await Promise.allSettled([receiving, sending])) assert.equal(status, 'rejected');
});

test('the daemon gives nothing but the part that was asked for by name', async () => {
  const made = await makeParts('narrow', randomBytes(1000));
  const { daemon } = await transfer({ ...made, part: '0'.repeat(64) });
  // rsync itself returns the status of its remote shell here, 0: only the file can be believed.
  assert.match(daemon.words, /link_stat.*No such file/);
  assert.deepEqual(await readdir(made.directory), []);
});

test('a pipe without the right ticket is shut out', async () => {
  const pipes = await openPipeListener(join(root, 'ticket.sock'));
  let taken = 0;
  pipes.issue(() => taken++);
  const socket = connect(pipes.path);
  socket.write(`${'0'.repeat(64)}\n`);
  await new Promise((resolve) => socket.on('close', resolve));
  assert.equal(taken, 0);
  await pipes.close();
});

test('a peer that sends and never reads is cut off before the CREDIT for it fills the memory', async () => {
  // A link on which nothing that is written ever goes away.
  const link = new Duplex({ read: () => undefined, write: () => undefined });
  const taken = new Writable({ write: (_chunk, _encoding, done) => done() });
  const joined = runTunnel({ link, input: new PassThrough(), output: taken });
  const crumbs = Buffer.concat(Array.from({ length: 10_000 }, () => encodeFrame({ type: 'data', payload: Buffer.of(0) })));
  const flooding = setInterval(() => link.push(crumbs), 1);
  await assert.rejects(joined, { code: 'bad_packet', message: /does not read/ }).finally(() => clearInterval(flooding));
  assert.ok(link.writableLength < 2 * WINDOW_BYTES, `${link.writableLength} bytes wait`);
});

test('a link that says nothing any more counts as broken, but not while our own side is the one that is waited for', async () => {
  const [silent] = await socketPair();
  const input = new PassThrough();
  await assert.rejects(runTunnel({ link: silent, input, output: new PassThrough(), silenceMs: 100 }), {
    code: 'unreachable',
    message: 'the other side said nothing for 0.1 s',
  });
  const [child, parent] = await socketPair();
  const slow = new Writable({ write: (_chunk, _encoding, taken) => void setTimeout(taken, 500) });
  const joined = runTunnel({ link: child, input: new PassThrough().end(), output: slow, silenceMs: 100 });
  parent.write(encodeFrame({ type: 'data', payload: Buffer.from('a disk that takes its time') }));
  setTimeout(() => parent.end(encodeFrame({ type: 'end' })), 550);
  await joined;
});

test('a link that is gone before the tunnel begins ends it, although what it would send waits for a turn that never comes', async () => {
  const [child, parent] = await socketPair();
  const closed = once(parent, 'close');
  child.destroy();
  parent.resume();
  parent.destroy();
  await closed;
  const made = await makeParts('gone', randomBytes(1000));
  const daemon = startDaemon(made.config);
  const joined = runTunnel({ link: parent, input: daemon.output, output: daemon.input, pace: () => 0 });
  await assert.rejects(joined, { code: 'unreachable' });
  await daemon.ended;
});

test('a link whose other side ends without a word of END is broken', async () => {
  const [child, parent] = await socketPair();
  const joined = runTunnel({ link: parent, input: new PassThrough(), output: new PassThrough() });
  child.end();
  await assert.rejects(joined, { code: 'unreachable' });
});
