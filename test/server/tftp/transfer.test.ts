import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Terms } from '../../../server/tftp/negotiate.ts';
import { decodePacket, type TftpPacket } from '../../../server/tftp/packet.ts';
import { lastBlock, newTransfer, step, type Transfer, type TransferAction, type TransferEvent } from '../../../server/tftp/transfer.ts';

const plain = (blockSizeBytes = 512, windowSize = 1): Terms => ({ blockSizeBytes, windowSize, oack: new Map() });
const withOptions = (blockSizeBytes: number, windowSize: number): Terms => ({
  ...plain(blockSizeBytes, windowSize),
  oack: new Map([['blksize', String(blockSizeBytes)]]),
});
const ack = (block: number): TransferEvent => ({ kind: 'packet', packet: { kind: 'ack', block: block & 0xffff } });
const timeout: TransferEvent = { kind: 'timeout' };

/** Feeds events and keeps what was sent, as `oack`, `data 1`, `data 2 …`. */
function drive(transfer: Transfer, events: readonly TransferEvent[], nowMs = () => 0) {
  let state = transfer;
  const log: string[] = [];
  const sent: TftpPacket[] = [];
  const feed = (event: TransferEvent) => {
    const [next, actions] = step(state, event, nowMs());
    state = next;
    for (const action of actions) note(action);
  };
  const note = (action: TransferAction) => {
    if (action.kind === 'end') log.push(`end ${action.outcome}`);
    if (action.kind !== 'send') return;
    const packet = decodePacket(action.packet);
    sent.push(packet);
    log.push(packet.kind === 'data' ? `data ${packet.block}` : packet.kind);
  };
  feed({ kind: 'start' });
  for (const event of events) feed(event);
  return { log, sent, feed, state: () => state };
}

/** A perfect client: acknowledges the last block of each window at once. Returns the content it got. */
function readAll(content: Uint8Array, terms: Terms): Buffer {
  const run = drive(newTransfer(content, terms), []);
  const blocks: Uint8Array[] = [];
  let seen = 0;
  for (let turn = 0; run.state().phase !== 'ended'; turn += 1) {
    assert.ok(turn < 200_000, 'the transfer ends');
    for (; seen < run.sent.length; seen += 1) {
      const packet = run.sent[seen];
      if (packet?.kind === 'data') blocks.push(packet.data);
    }
    run.feed(ack(run.state().sent));
  }
  return Buffer.concat(blocks);
}

test('what is read is what is there, for every size, block and window', () => {
  fc.assert(
    fc.property(fc.nat(5_000), fc.integer({ min: 8, max: 600 }), fc.integer({ min: 1, max: 64 }), (size, block, window) => {
      const content = Uint8Array.from({ length: size }, (_, index) => index % 251);
      assert.deepEqual(readAll(content, withOptions(block, window)), Buffer.from(content));
    }),
    { numRuns: 200, seed: 7440 },
  );
});

test('an empty file is one empty block', () => {
  const run = drive(newTransfer(new Uint8Array(0), plain()), [ack(1)]);
  assert.deepEqual(run.log, ['data 1', 'end done']);
});

test('a file that fills its last block is ended by an empty one', () => {
  const run = drive(newTransfer(new Uint8Array(1_024), plain()), [ack(1), ack(2), ack(3)]);
  assert.deepEqual(run.log, ['data 1', 'data 2', 'data 3', 'end done']);
  assert.equal(lastBlock(run.state()), 3);
});

test('block numbers go on behind 65535', () => {
  const content = Uint8Array.from({ length: 8 * 70_000 + 3 }, (_, index) => (index * 7) % 256);
  assert.deepEqual(readAll(content, withOptions(8, 32)), Buffer.from(content));
});

test('a repeated acknowledgement never sends a block again', () => {
  const content = new Uint8Array(10_000);
  const run = drive(newTransfer(content, plain()), [ack(1), ack(1), ack(1), ack(2), ack(1), ack(2), ack(2)]);
  assert.deepEqual(run.log, ['data 1', 'data 2', 'data 3']);
});

test('acknowledgements of blocks that were not sent are dropped', () => {
  const run = drive(newTransfer(new Uint8Array(10_000), plain()), [ack(2), ack(9), ack(65_535), ack(0)]);
  assert.deepEqual(run.log, ['data 1']);
});

test('whatever is acknowledged, a block is sent at most once without a time-out when the window is one', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(12), { maxLength: 60 }), (acks) => {
      const run = drive(newTransfer(new Uint8Array(512 * 10), plain()), acks.map(ack));
      const data = run.log.filter((line) => line.startsWith('data'));
      assert.equal(new Set(data).size, data.length);
    }),
    { seed: 1123 },
  );
});

test('one packet is out until the client answers, whatever window it asked for', () => {
  const run = drive(newTransfer(new Uint8Array(50_000), withOptions(512, 16)), []);
  assert.deepEqual(run.log, ['oack']);
  run.feed(ack(0));
  assert.equal(run.log.length, 17);
});

test('after an acknowledgement inside the window it starts again at the gap', () => {
  const run = drive(newTransfer(new Uint8Array(50_000), withOptions(512, 4)), [ack(0), ack(2)]);
  assert.deepEqual(run.log, ['oack', 'data 1', 'data 2', 'data 3', 'data 4', 'data 3', 'data 4', 'data 5', 'data 6']);
});

test('an address that never answers costs five packets and then nothing', () => {
  const run = drive(newTransfer(new Uint8Array(50_000), plain()), Array(20).fill(timeout));
  assert.deepEqual(run.log, ['data 1', 'data 1', 'data 1', 'data 1', 'data 1', 'end silent']);
});

test('a client that falls silent is given up after eight time-outs', () => {
  const run = drive(newTransfer(new Uint8Array(50_000), plain()), [ack(1), ...Array(20).fill(timeout)]);
  assert.equal(run.log.filter((line) => line === 'data 2').length, 8);
  assert.equal(run.log.at(-1), 'end silent');
});

test('the time-out starts at 200 ms, follows the answers down, doubles in silence and recovers with progress', () => {
  const waits: number[] = [];
  let now = 0;
  let state = newTransfer(new Uint8Array(100_000), plain());
  const feed = (event: TransferEvent) => {
    const [next, actions] = step(state, event, now);
    state = next;
    for (const action of actions) if (action.kind === 'arm') waits.push(Math.round(action.afterMs));
  };
  feed({ kind: 'start' });
  for (let block = 1; block <= 20; block += 1) {
    now += 1;
    feed(ack(block));
  }
  assert.equal(waits[0], 200);
  assert.equal(waits.at(-1), 30, 'the floor');
  for (let n = 0; n < 3; n += 1) feed(timeout);
  assert.deepEqual(waits.slice(-3), [60, 120, 240]);
  for (let n = 0; n < 3; n += 1) feed(timeout);
  assert.deepEqual(waits.slice(-3), [480, 3_840, 8_000], 'long enough for a client that waits for silence');
  feed(ack(21));
  assert.equal(waits.at(-1), 30);
});

test('an error of the client ends the transfer without an answer', () => {
  const run = drive(newTransfer(new Uint8Array(10_000), plain()), [{ kind: 'packet', packet: { kind: 'error', code: 8, message: '' } }]);
  assert.deepEqual(run.log, ['data 1', 'end aborted']);
});

test('data from the client is refused as illegal', () => {
  const run = drive(newTransfer(new Uint8Array(10_000), plain()), [
    { kind: 'packet', packet: { kind: 'data', block: 1, data: Buffer.alloc(1) } },
  ]);
  assert.deepEqual(run.log, ['data 1', 'error', 'end aborted']);
});

test('late packets after the end change nothing', () => {
  const run = drive(newTransfer(new Uint8Array(10), plain()), [ack(1), ack(1), timeout]);
  assert.deepEqual(run.log, ['data 1', 'end done']);
});
