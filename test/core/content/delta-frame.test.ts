import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { constants, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { decodeAnyFrame, encodeDeltaFrame, lending } from '../../../core/content/delta-frame.ts';
import { type Chunk, chunkDigest, decodeFrame, encodeFrame, type FrameChunk, joinFrame } from '../../../core/content/frame.ts';
import { parseFrame } from '../../../core/content/frame-reader.ts';
import { AppError } from '../../../core/errors.ts';
import type { Digest } from '../../../core/ids.ts';
import { noise } from './make-disk.ts';

const KIB = 1024;

function chunkOf(bytes: Buffer): Chunk {
  return { digest: chunkDigest(bytes), bytes };
}

function tableOf(chunks: readonly Chunk[]): FrameChunk[] {
  return chunks.map(({ digest, bytes }) => ({ digest, length: bytes.length }));
}

/** A receiver that holds these chunks and nothing else. */
function holding(chunks: readonly Chunk[]): (digest: Digest) => Promise<Buffer> {
  return async (digest) => {
    const found = chunks.find((chunk) => chunk.digest === digest);
    if (found === undefined) throw new AppError('not_found', `chunk ${digest} is not here`);
    return found.bytes;
  };
}

async function encode(chunks: readonly Chunk[], bases: readonly Chunk[]): Promise<Buffer | undefined> {
  const raw = Buffer.concat(chunks.map(({ bytes }) => bytes));
  return encodeDeltaFrame({ chunks: tableOf(chunks), raw, bases: bases.map(({ digest }) => digest) }, lending(holding(bases)));
}

async function decode(octets: Buffer, bases: readonly Chunk[]): Promise<Chunk[]> {
  const { header, payload } = parseFrame(octets);
  return decodeAnyFrame(header, payload, holding(bases));
}

async function mustEncode(chunks: readonly Chunk[], bases: readonly Chunk[]): Promise<Buffer> {
  const octets = await encode(chunks, bases);
  assert.ok(octets, 'the delta saves something');
  return octets;
}

/** A frame with a payload of the caller's making and right sums. */
function forge(chunks: readonly Chunk[], bases: readonly Digest[], payload: Buffer): Buffer {
  return joinFrame({ encoding: 'zstd-base', chunks: tableOf(chunks), bases, payload });
}

function edited(bytes: Buffer, at: number, change: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  change.copy(copy, at);
  return copy;
}

const pieces = fc
  .array(
    fc.record({
      seed: fc.integer({ min: 1, max: 50 }),
      length: fc.integer({ min: 1, max: 40_000 }),
      edit: fc.integer({ min: 0, max: 39_000 }),
    }),
    { minLength: 1, maxLength: 6 },
  )
  .map((list) =>
    list.map(({ seed, length, edit }) => ({
      base: chunkOf(noise(seed, length)),
      next: chunkOf(edited(noise(seed, length), Math.min(edit, length - 1), noise(99, 20))),
    })),
  );

test('what is coded against base chunks decodes to the same chunks with them, and is far smaller', async () => {
  await fc.assert(
    fc.asyncProperty(pieces, async (list) => {
      const [bases, chunks] = [list.map(({ base }) => base), list.map(({ next }) => next)];
      const octets = await encode(chunks, bases);
      if (octets === undefined) return;
      assert.deepEqual(
        (await decode(octets, bases)).map(({ bytes }) => Buffer.from(bytes)),
        chunks.map(({ bytes }) => bytes),
      );
    }),
    { numRuns: 30 },
  );
  const base = chunkOf(noise(7, 200_000));
  const next = chunkOf(edited(base.bytes, 100_000, noise(8, 500)));
  const octets = await mustEncode([next], [base]);
  assert.ok(octets.length < 1200, `${octets.length} octets for 500 new ones`);
  assert.equal(parseFrame(octets).header.encoding, 'zstd-base');
  assert.deepEqual(parseFrame(octets).header.bases, [base.digest]);
});

test('a delta frame that saves nothing is not made', async () => {
  assert.equal(await encode([chunkOf(randomBytes(50_000))], [chunkOf(randomBytes(50_000))]), undefined);
});

test('the same chunks and base chunks give the same octets, also with other work beside it', async () => {
  const bases = [1, 2, 3, 4].map((seed) => chunkOf(noise(seed, 150_000)));
  const chunks = bases.map(({ bytes }, n) => chunkOf(edited(bytes, 1000 * n, noise(60 + n, 300))));
  const all = await Promise.all([1, 2, 3, 4].map(() => mustEncode(chunks, bases)));
  for (const octets of all) assert.deepEqual(octets, all[0]);
});

test('a base chunk that begins like a dictionary of zstd is only content', async () => {
  const base = chunkOf(Buffer.concat([Buffer.from([0x37, 0xa4, 0x30, 0xec]), noise(3, 60_000)]));
  const next = chunkOf(edited(base.bytes, 30_000, noise(4, 100)));
  const octets = await mustEncode([next], [base]);
  assert.ok(octets.length < 800);
  assert.deepEqual((await decode(octets, [base]))[0]?.bytes, next.bytes);
});

test('the format stays: a frame written down once decodes', async () => {
  const base = chunkOf(Buffer.from('The quick brown fox jumps over the lazy dog. '.repeat(3)));
  const next = chunkOf(Buffer.from('The quick brown fox jumps over the lazy cat. '.repeat(3)));
  const golden = [
    '5753463101020000010000000100000087000000170000000000000000000000dfe96fde6766fb7e66c7a17d1f93f6063ebf0f0a866fbc8e176510a2',
    'fbd05efea58752a81bf5284e00a21c813c87ad85c9d1c2978f0cc22d88381ae2724af66a87000000dc985401a68faff03051c78bbf32bb2fd27ba216',
    'b0dba19b050b936d534b8ba9bea8d9d3c4457b545bd8a8bf873d3f0b34915ecd9f1429f30d6818641c22fce628b52ffd007075000018636174030043',
    '1581004d456980',
  ].join('');
  assert.deepEqual((await decode(Buffer.from(golden, 'hex'), [base]))[0]?.bytes, next.bytes);
});

test('every single bit of a delta frame is covered', async () => {
  const base = chunkOf(noise(5, 400));
  const next = chunkOf(edited(base.bytes, 200, noise(6, 8)));
  const octets = await mustEncode([next], [base]);
  for (let bit = 0; bit < octets.length * 8; bit++) {
    const flipped = Buffer.from(octets);
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    await assert.rejects(decode(flipped, [base]), { code: 'bad_data' }, `bit ${bit} went unseen`);
  }
});

test('a base chunk that is not here is told, and a wrong one gives no chunk', async () => {
  const base = chunkOf(noise(5, 50_000));
  const next = chunkOf(edited(base.bytes, 20_000, noise(6, 80)));
  const octets = await mustEncode([next], [base]);
  await assert.rejects(decode(octets, []), { code: 'not_found' });
  const { header, payload } = parseFrame(octets);
  await assert.rejects(
    decodeAnyFrame(header, payload, async () => noise(9, 50_000)),
    { code: 'bad_data' },
  );
  await assert.rejects(decodeFrame(header, payload), { code: 'bad_data' }, 'a reader of packs takes no delta frames');
});

test('endless, cut off, foreign and oversized payloads are refused', async () => {
  const base = chunkOf(noise(5, 50_000));
  const next = chunkOf(edited(base.bytes, 20_000, noise(6, 80)));
  const { payload } = parseFrame(await mustEncode([next], [base]));
  const bomb = zstdCompressSync(Buffer.alloc(256 * 1024 * KIB));
  const wide = zstdCompressSync(Buffer.alloc(64 * 1024 * KIB, noise(1, 4096)), { params: { [constants.ZSTD_c_windowLog]: 26 } });
  const cases: Record<string, Buffer> = {
    endless: forge([next], [base.digest], bomb),
    'cut off': forge([next], [base.digest], payload.subarray(0, payload.length - 3)),
    foreign: forge([next], [base.digest], noise(3, 400)),
    'another chunk': forge([chunkOf(noise(4, 50_000))], [base.digest], payload),
    'shorter than it says': forge([chunkOf(noise(4, 50_001))], [base.digest], payload),
    'a window above 2^24': forge([next], [base.digest], wide.subarray(0, 40_000)),
    'no base': forge([next], [], payload),
    'more bases than allowed': forge(
      [next],
      Array.from({ length: 1025 }, () => base.digest),
      payload,
    ),
  };
  for (const [name, octets] of Object.entries(cases)) await assert.rejects(decode(octets, [base]), { code: 'bad_data' }, name);
});

test('more than 4 MiB of base chunks is refused before all of it was read', async () => {
  const base = chunkOf(noise(5, 256 * KIB));
  const next = chunkOf(edited(base.bytes, 20_000, noise(6, 80)));
  const { payload } = parseFrame(await mustEncode([next], [base]));
  const { header } = parseFrame(
    forge(
      [next],
      Array.from({ length: 1000 }, () => base.digest),
      payload,
    ),
  );
  let asked = 0;
  const getBase = async (): Promise<Buffer> => {
    asked += 1;
    return base.bytes;
  };
  await assert.rejects(decodeAnyFrame(header, payload, getBase), { code: 'bad_data' });
  assert.ok(asked <= 20, `${asked} were asked for`);
});

test('a plain frame needs no base', async () => {
  const chunk = chunkOf(noise(5, 9000));
  assert.deepEqual((await decode(await encodeFrame([chunk]), []))[0]?.bytes, chunk.bytes);
});
