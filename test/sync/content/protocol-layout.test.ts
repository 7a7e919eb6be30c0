import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { constants, createZstdCompress } from 'node:zlib';
import { decodeFrame, encodeFrame } from '../../../core/content/frame.ts';
import { parseFrame } from '../../../core/content/frame-reader.ts';
import { encodeRoot } from '../../../core/content/manifest.ts';
import { encodePage } from '../../../core/content/page.ts';
import type { Digest } from '../../../core/ids.ts';
import { encodePartHeader, encodePartTrailer } from '../../../sync/content/part-format.ts';

/*
 * The layouts of docs/protocol.md, put together by hand: another implementation reads that page, not our code. When a
 * test here fails, a format has changed, and with it its version must.
 */
const sha256 = (octets: Buffer): Buffer => createHash('sha256').update(octets).digest();
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const digestOf = (octets: Buffer): Digest => `sha256:${sha256(octets).toString('hex')}` as Digest;

test('a frame is laid out as docs/protocol.md says', async () => {
  const chunks = [Buffer.from('chunk one'), Buffer.from('2')];
  const payload = Buffer.concat(chunks);
  const body = Buffer.concat([
    Buffer.from('WSF1'),
    hex('01 00 0000'),
    hex('02000000 00000000 0a000000 0a000000 0000000000000000'),
    sha256(payload),
    sha256(Buffer.from('chunk one')),
    hex('09000000'),
    sha256(Buffer.from('2')),
    hex('01000000'),
  ]);
  const frame = await encodeFrame(chunks.map((bytes) => ({ digest: digestOf(bytes), bytes })));
  assert.equal(frame.toString('hex'), Buffer.concat([body, sha256(body), payload]).toString('hex'));
});

test('a page is laid out as docs/protocol.md says', () => {
  const digest = digestOf(Buffer.from('x'));
  const leaf = encodePage({
    depth: 0,
    entries: [
      { kind: 'data', length: 262_144, digest },
      { kind: 'zero', length: 2 ** 40 + 1 },
      { kind: 'free', length: 4096 },
    ],
  });
  const entries = [hex('00 00000400000000'), sha256(Buffer.from('x')), hex('01 01000000000100'), hex('02 00100000000000')];
  assert.equal(leaf.toString('hex'), Buffer.concat([Buffer.from('WSP1'), hex('00 00 0300'), ...entries]).toString('hex'));
  const above = encodePage({ depth: 1, entries: [{ kind: 'page', length: 5, digest }] });
  const entry = Buffer.concat([hex('03 05000000000000'), sha256(Buffer.from('x'))]);
  assert.equal(above.toString('hex'), Buffer.concat([Buffer.from('WSP1'), hex('01 00 0100'), entry]).toString('hex'));
});

test('a root is the canonical JSON that docs/protocol.md shows', () => {
  const page = digestOf(Buffer.from('page'));
  const tree = { page, depth: 0, entries: 1 };
  const root = encodeRoot({
    tree,
    usedBytes: 512,
    sizeBytes: 512,
    kind: 'disk',
    format: 1,
    disk: { sizeBytes: 512, sectorSize: 512, partitionTable: { scheme: 'none', partitions: [] }, bootType: 'none' },
  });
  const disk = '{"bootType":"none","partitionTable":{"partitions":[],"scheme":"none"},"sectorSize":512,"sizeBytes":512}';
  assert.equal(
    root.toString(),
    `{"disk":${disk},"format":1,"kind":"disk","sizeBytes":512,"tree":{"depth":0,"entries":1,"page":"${page}"},"usedBytes":512}`,
  );
});

test('a part of an archive begins and ends as docs/protocol.md says', () => {
  const header = { encoder: { format: 1, zstd: '1.5.7', level: 3 }, part: 0, frames: 2, rawBytes: 10 };
  const json = '{"encoder":{"format":1,"level":3,"zstd":"1.5.7"},"frames":2,"part":0,"rawBytes":10}';
  const summed = Buffer.alloc(480);
  Buffer.concat([hex('57 53 52 41 44 00 00 01'), hex('53000000'), Buffer.from(json)]).copy(summed);
  assert.equal(json.length, 0x53);
  const expected = Buffer.concat([summed, sha256(summed)]);
  assert.equal(encodePartHeader(header).toString('hex'), expected.toString('hex'));
  assert.equal(encodePartTrailer(header).toString('hex'), Buffer.concat([Buffer.from('WSRADEND'), sha256(expected)]).toString('hex'));
});

/** zstd that announces a window of 2^log octets: without being told the size, as a stream. */
async function windowed(octets: Buffer, log: number): Promise<Buffer> {
  const stream = createZstdCompress({ params: { [constants.ZSTD_c_windowLog]: log } });
  stream.write(octets.subarray(0, 10));
  stream.end(octets.subarray(10));
  return Buffer.concat(await stream.toArray());
}

function framed(raw: Buffer, payload: Buffer): Buffer {
  const lengths = Buffer.alloc(16);
  lengths.writeUInt32LE(raw.length, 0);
  lengths.writeUInt32LE(payload.length, 4);
  const length = lengths.subarray(0, 4);
  const body = Buffer.concat([Buffer.from('WSF1'), hex('01 01 0000 01000000 00000000'), lengths, sha256(payload), sha256(raw), length]);
  return Buffer.concat([body, sha256(body), payload]);
}

test('a frame may ask for a window of 16 MiB to decode it, and for no more memory', async () => {
  const raw = Buffer.alloc(100_000, 'window');
  const decode = async (log: number) => {
    const { header, payload } = parseFrame(framed(raw, await windowed(raw, log)));
    return decodeFrame(header, payload);
  };
  assert.ok((await decode(24))[0]?.bytes.equals(raw));
  await assert.rejects(decode(25), { code: 'bad_data' });
});
