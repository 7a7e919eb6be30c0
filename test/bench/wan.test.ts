import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { startWan, type Wan, type WanOptions } from '../helpers/wan.ts';

const PAYLOAD = 1_800_000;
const MBITS = 20;
const RTT_MS = 40;

const SENDER = `require('net').createServer((s) => { s.on('error', () => {}); s.end(Buffer.alloc(${PAYLOAD})); })
  .listen(7000, '10.77.0.1', () => console.log('up'))`;
/** Prints the milliseconds of a connection, and what the line did once TCP had found its speed. */
const RECEIVER = `const t = performance.now(); let first, skipped, bytes = 0; const s = require('net').connect(7000, '10.77.0.1');
  s.on('connect', () => { s.opened = performance.now() - t; }).on('data', (d) => {
    bytes += d.length;
    if (first === undefined && bytes > ${PAYLOAD / 3}) { first = performance.now(); skipped = bytes; }
  })
  .on('error', (e) => console.log(JSON.stringify({ error: e.code })))
  .on('end', () => console.log(JSON.stringify({ openedMs: s.opened, bytes,
    mbits: (bytes - skipped) * 8 / 1000 / (performance.now() - first) })))`;
const LOSSY = `const s = require('dgram').createSocket('udp4').bind(7001, '10.77.0.2', () => console.log('up')); const got = [];
  s.on('message', (d) => { got.push(d[0]); if (d[0] === 255) console.log(JSON.stringify(got)); })`;
const SHOUTER = `const s = require('dgram').createSocket('udp4'); let n = 0;
  const next = () => s.send(Buffer.from([n]), 7001, '10.77.0.2', () => (++n < 255 ? setImmediate(next) : setInterval(() => s.send(Buffer.from([255]), 7001, '10.77.0.2'), 20)));
  next();`;

test('the line has the rate and the round trip it was asked for, and counts what crosses', async () => {
  await withWan({ mbits: MBITS, rttMs: RTT_MS }, async (wan) => {
    const sender = node(wan, 'hq', SENDER);
    await lineOf(sender);
    let got = await lineOf(node(wan, 'branch', RECEIVER));
    const { down, up } = await wan.count();
    assert.ok(got.openedMs >= RTT_MS, `a connection took ${got.openedMs} ms`);
    assert.equal(got.bytes, PAYLOAD);
    assert.ok(down.bytes > PAYLOAD && down.bytes < PAYLOAD * 1.2, `${down.bytes} crossed for ${PAYLOAD}`);
    assert.ok(up.bytes > 0 && up.bytes < down.bytes / 5);
    // A busy machine makes one of these late now and then; none may be faster than the line.
    for (let n = 0; n < 3 && got.mbits < MBITS * 0.9; n++) got = await lineOf(node(wan, 'branch', RECEIVER));
    assert.ok(Math.abs(got.mbits - MBITS) < MBITS * 0.1, `${got.mbits} Mbit/s over a line of ${MBITS}`);
    await wan.cut();
    assert.equal((await lineOf(node(wan, 'branch', RECEIVER))).error, 'ECONNREFUSED');
  });
});

test('the same seed loses the same packets', async () => {
  const first = await survivors({ mbits: 100, rttMs: 0, loss: 0.2, seed: 7 });
  assert.deepEqual(await survivors({ mbits: 100, rttMs: 0, loss: 0.2, seed: 7 }), first);
  assert.notDeepEqual(await survivors({ mbits: 100, rttMs: 0, loss: 0.2, seed: 8 }), first);
  assert.ok(first.length > 150 && first.length < 250, `${first.length} of 255 came through`);
});

async function survivors(options: WanOptions): Promise<number[]> {
  let got: number[] = [];
  await withWan(options, async (wan) => {
    const lines = createInterface({ input: node(wan, 'branch', LOSSY).stdout as NodeJS.ReadableStream });
    await once(lines, 'line');
    node(wan, 'hq', SHOUTER);
    got = JSON.parse(String((await once(lines, 'line'))[0])) as number[];
  });
  return got.filter((n) => n !== 255);
}

async function withWan(options: WanOptions, work: (wan: Wan) => Promise<void>): Promise<void> {
  const wan = await startWan(options);
  try {
    await work(wan);
  } finally {
    await wan.close();
  }
}

function node(wan: Wan, side: 'hq' | 'branch', program: string): ChildProcess {
  return wan[side].spawn([process.execPath, '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
}

async function lineOf(child: ChildProcess): Promise<{ openedMs: number; mbits: number; bytes: number; error?: string }> {
  const [line] = await once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), 'line');
  return line === 'up' ? { openedMs: 0, mbits: 0, bytes: 0 } : JSON.parse(String(line));
}
