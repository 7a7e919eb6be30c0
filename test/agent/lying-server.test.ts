import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { runAgent } from '../../agent/loop.ts';
import { chunkDigest, decodeFrame, encodeFrame } from '../../core/content/frame.ts';
import { parseFrame } from '../../core/content/frame-reader.ts';
import type { ContentStore } from '../../core/content-store.ts';
import { writeRandomDisk } from '../helpers/lab/disks.ts';
import { diskImage, MIB, machineWith, seededBytes } from './fixtures.ts';
import { agentWorld, bootTarget, importDisk, orderDemo, startServer, untilState } from './helpers.ts';

type Frames = ReadableStream<Uint8Array>;
/** Makes of the honest octets what the server sends instead. */
type Lie = (honest: Buffer) => Promise<AsyncIterable<Uint8Array> | Iterable<Uint8Array>>;

async function collect(frames: Frames): Promise<Buffer> {
  return Buffer.concat(await Readable.fromWeb(frames as never).toArray());
}

/** A store that lies whenever it is asked for more than `from` digests: the table of contents is asked for one by one. */
function lyingStore(lie: Lie, from: number) {
  return (store: ContentStore): Partial<ContentStore> => ({
    readFrames: async (digests) => {
      const honest = await store.readFrames(digests);
      if (digests.length <= from) return honest;
      return Readable.toWeb(Readable.from(await lie(await collect(honest)))) as Frames;
    },
  });
}

/** Runs a deployment from a server that lies and gives how it ended; no block of the body may hold what is neither old nor right. */
async function deployFromLiar(t: TestContext, lie: Lie, from = 1) {
  const server = await startServer(t, { patchStore: lyingStore(lie, from) });
  const image = diskImage(12 * MIB);
  await importDisk(server, image);
  const boot = await bootTarget(server);
  const order = await orderDemo(server);
  const path = join(server.folder, 'disk');
  await writeRandomDisk(path, 14 * MIB);
  const before = await readFile(path);
  const world = await agentWorld(t, server, boot, await machineWith(path));
  const running = runAgent(world);
  const ended = await untilState(server, order.id, 'failed');
  world.stop.abort();
  await running.catch(() => undefined);
  assertNothingWrong({ before, after: await readFile(path), image });
  return ended;
}

function assertNothingWrong({ before, after, image }: { before: Buffer; after: Buffer; image: Buffer }): void {
  for (let offset = 0; offset < image.length; offset += 4096) {
    const block = after.subarray(offset, offset + 4096);
    const isOld = block.equals(before.subarray(offset, offset + 4096));
    const isRight = block.equals(image.subarray(offset, offset + 4096));
    // The head is emptied before the first chunk is asked for.
    const isEmptied = offset < MIB && block.every((octet) => octet === 0);
    assert.ok(isOld || isRight || isEmptied, `wrong octets at ${offset}`);
  }
}

const flip: Lie = async (honest) => {
  const wrong = Buffer.from(honest);
  const at = wrong.length - 1;
  wrong[at] = (wrong[at] ?? 0) ^ 1;
  return [wrong];
};

test('a payload with one flipped bit is refused, and the order fails with the digest named', async (t) => {
  const { error } = await deployFromLiar(t, flip);
  assert.equal(error?.code, 'bad_data');
  assert.match(error?.message ?? '', /right content for sha256:[0-9a-f]{64}: a frame (does not decompress|holds other bytes)/);
});

test('a table of contents with one flipped bit is refused, and no octet is written', async (t) => {
  const { error } = await deployFromLiar(t, flip, 0);
  assert.match(error?.message ?? '', /right content for sha256:/);
});

test('a frame that is sound in itself and claims a digest for other bytes is refused', async (t) => {
  const { error } = await deployFromLiar(t, async (honest) => {
    const frame = parseFrame(honest.subarray(0, firstFrameBytes(honest)));
    const chunks = await decodeFrame(frame.header, frame.payload);
    const forged = chunks.map(({ digest, bytes }) => ({ digest, bytes: seededBytes(9, bytes.length) }));
    return [await encodeFrame(forged)];
  });
  assert.match(error?.message ?? '', /a frame holds other bytes than sha256:[0-9a-f]{64}/);
});

test('a frame of other chunks, each of them right, is refused', async (t) => {
  const { error } = await deployFromLiar(t, async () => {
    const bytes = seededBytes(7, 65_536);
    return [await encodeFrame([{ digest: chunkDigest(bytes), bytes }])];
  });
  assert.match(error?.message ?? '', /nothing was asked for/);
});

test('an answer that ends too early is refused', async (t) => {
  const { error } = await deployFromLiar(t, async (honest) => [honest.subarray(0, honest.length - 100)]);
  assert.match(error?.message ?? '', /right content for sha256:/);
});

test('an answer without an end is refused at the first frame that brings nothing new', async (t) => {
  const { error } = await deployFromLiar(t, async (honest) => {
    const first = honest.subarray(0, firstFrameBytes(honest));
    return (async function* () {
      for (;;) yield first;
    })();
  });
  assert.match(error?.message ?? '', /nothing was asked for/);
});

test('an endless answer that is no frame at all is refused', async (t) => {
  const { error } = await deployFromLiar(t, async () => {
    return (async function* () {
      for (;;) yield Buffer.alloc(65_536);
    })();
  });
  assert.match(error?.message ?? '', /no frame magic/);
});

function firstFrameBytes(octets: Buffer): number {
  const headerBytes = 64 + octets.readUInt32LE(8) * 36 + octets.readUInt32LE(12) * 32 + 32;
  return headerBytes + octets.readUInt32LE(20);
}
