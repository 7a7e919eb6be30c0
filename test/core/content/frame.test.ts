import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import {
  type Chunk,
  chunkDigest,
  decodeFrame,
  encodeFrame,
  FRAME_MAGIC,
  openFrame,
  parseFrameHeader,
} from '../../../core/content/frame.ts';
import { createFrameParser, type Frame, parseFrame, readFrames } from '../../../core/content/frame-reader.ts';
import { AppError } from '../../../core/errors.ts';
import { digestBytes } from '../../../core/ids.ts';
import { collect } from './collect.ts';
import { noise } from './make-disk.ts';

function chunksOf(...pieces: Uint8Array[]): Chunk[] {
  return pieces.map((piece) => ({ digest: chunkDigest(piece), bytes: Buffer.from(piece) }));
}

const someChunks = fc
  .array(
    fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 4000 }),
      fc.integer({ min: 1, max: 60_000 }).map((n) => new Uint8Array(n)),
    ),
    {
      minLength: 1,
      maxLength: 12,
    },
  )
  .map((pieces) => chunksOf(...pieces));

async function isBadData(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return false;
  } catch (error) {
    assert.ok(error instanceof AppError && error.code === 'bad_data', String(error));
    return true;
  }
}

async function decode(octets: Buffer): Promise<Chunk[]> {
  const frame = parseFrame(octets);
  return decodeFrame(frame.header, frame.payload);
}

test('what is encoded decodes to the same chunks, whether it compresses or not', async () => {
  await fc.assert(
    fc.asyncProperty(someChunks, async (chunks) => {
      const decoded = await decode(await encodeFrame(chunks));
      assert.deepEqual(
        decoded.map(({ digest, bytes }) => ({ digest, bytes: Buffer.from(bytes) })),
        chunks,
      );
    }),
    { numRuns: 100 },
  );
  assert.equal(parseFrameHeader(await encodeFrame(chunksOf(randomBytes(9000)))).encoding, 'raw');
  assert.equal(parseFrameHeader(await encodeFrame(chunksOf(Buffer.alloc(9000, 1)))).encoding, 'zstd');
});

test('the same chunks give the same octets', async () => {
  const chunks = chunksOf(noise(1, 70_000), noise(2, 20_000));
  assert.deepEqual(await encodeFrame(chunks), await encodeFrame(chunks));
});

test('every single bit of a frame is covered', async () => {
  const octets = await encodeFrame(chunksOf(Buffer.alloc(300, 7), noise(5, 200)));
  for (let bit = 0; bit < octets.length * 8; bit++) {
    const flipped = Buffer.from(octets);
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    assert.ok(await isBadData(() => decode(flipped)), `bit ${bit} went unseen`);
  }
});

test('a stream of frames reads the same in any split', async () => {
  const frames = await Promise.all([noise(1, 9000), noise(2, 100), Buffer.alloc(5000, 3)].map((bytes) => encodeFrame(chunksOf(bytes))));
  const stream = Buffer.concat(frames);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: stream.length }), { maxLength: 40 }), (cuts) => {
      const edges = [0, ...cuts.sort((a, b) => a - b), stream.length];
      const parser = createFrameParser();
      const read: Frame[] = [];
      for (let index = 1; index < edges.length; index++) read.push(...parser.push(stream.subarray(edges[index - 1], edges[index])));
      parser.finish();
      assert.deepEqual(
        read.map((frame) => Buffer.from(frame.octets)),
        frames,
      );
    }),
    { numRuns: 100 },
  );
  const parser = createFrameParser();
  const byOctet = [...stream].flatMap((octet) => parser.push(Uint8Array.of(octet)));
  assert.equal(byOctet.length, frames.length);
});

test('a stream that ends inside a frame is bad data', async () => {
  const frame = await encodeFrame(chunksOf(noise(1, 9000)));
  async function* cutOff(): AsyncGenerator<Buffer> {
    yield frame.subarray(0, frame.length - 1);
  }
  assert.ok(await isBadData(async () => collect(readFrames(cutOff()))));
});

test('any octets give frames or bad data', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), fc.boolean(), async (octets, withMagic) => {
      const input = withMagic ? Buffer.concat([FRAME_MAGIC, Buffer.from([1, 1, 0, 0]), octets]) : Buffer.from(octets);
      const parser = createFrameParser();
      await isBadData(async () => {
        parser.push(input);
        parser.finish();
      });
    }),
    { numRuns: 500 },
  );
});

test('a changed frame with its sums made right again gives chunks or bad data', async () => {
  const octets = await encodeFrame(chunksOf(Buffer.alloc(3000, 7), noise(5, 2000)));
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 1, max: 255 }), async (at, change) => {
      const forged = Buffer.from(octets);
      forged[at] = (forged[at] ?? 0) ^ change;
      const header = parseFrameHeader(octets);
      const sum = digestBytes(chunkDigest(forged.subarray(0, header.headerBytes - 32)));
      sum.copy(forged, header.headerBytes - 32);
      await isBadData(() => decode(forged));
    }),
    { numRuns: 300 },
  );
});

test('a payload that would decompress to more than the header says is refused without doing so', async () => {
  const bomb = zstdCompressSync(Buffer.alloc(512 * 1024 * 1024));
  const header = parseFrameHeader(await encodeFrame(chunksOf(Buffer.alloc(200_000, 9))));
  const before = process.memoryUsage().rss;
  assert.ok(await isBadData(() => decodeFrame({ ...header, payloadBytes: bomb.length }, bomb)));
  assert.ok(process.memoryUsage().rss - before < 100 * 1024 * 1024);
});

test('of an opened frame each chunk that is asked for is checked, every time until it was right, and no other is', async () => {
  const [first, second] = [randomBytes(9000), randomBytes(5000)];
  const octets = await encodeFrame(chunksOf(first, second));
  octets[octets.length - 1] = (octets.at(-1) ?? 0) ^ 1;
  const { header, payload } = parseFrame(octets, { isPayloadChecked: false });
  assert.equal(header.encoding, 'raw');
  const frame = await openFrame(header, payload);
  assert.deepEqual(frame.chunkAt(0)?.bytes, first);
  for (let time = 0; time < 2; time++) assert.ok(await isBadData(async () => frame.chunkAt(1)));
  assert.deepEqual(frame.chunkAt(0)?.bytes, first);
  assert.equal(frame.chunkAt(2), undefined);
  assert.ok(await isBadData(() => openFrame(header, payload.subarray(1))), 'cut short');
});

test('a closed frame gives its memory back, and leaves what shares a small buffer with it alone', async () => {
  const neighbour = Buffer.from('neighbour');
  for (const size of [100, 200_000]) {
    const { header, payload } = parseFrame(await encodeFrame(chunksOf(Buffer.alloc(size, 7))));
    const frame = await openFrame(header, payload);
    const bytes = frame.chunkAt(0)?.bytes;
    assert.equal(bytes?.length, size);
    frame.close();
    frame.close();
    if (size > Buffer.poolSize) assert.equal(bytes?.length, 0);
  }
  assert.equal(neighbour.toString(), 'neighbour');
});
