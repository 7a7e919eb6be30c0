import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { ContentStore } from '../../core/content-store.ts';
import { getOrder } from '../../server/orders/orders.ts';
import { createBoot } from '../../server/targets.ts';
import { endInReverse } from '../helpers/end-in-reverse.ts';
import { compareDisk, writeRandomDisk } from '../helpers/lab/disks.ts';
import { waitUntil } from '../helpers/wait-until.ts';
import type { ChildSetup } from './agent-child.ts';
import { diskImage, MIB, seededBytes } from './fixtures.ts';
import { bootTarget, importDisk, orderDemo, startServer, type TestServer } from './helpers.ts';

const IMAGE_MIB = 40;
const SLACK_BYTES = 4 * MIB;

/** What an agent may have been sent more than is seen on its disk: a frame that is not whole yet, blocks that are not. */
const AHEAD_BYTES = 2.5 * MIB;

/** Gives each agent so many octets of frames and then none until `open`: so a kill lands in the middle, however busy the machine is. */
function pacedStore() {
  const opened = Promise.withResolvers<void>();
  let given = { left: 0 };
  const patchStore = (store: ContentStore): Partial<ContentStore> => ({
    readFrames: async (digests) => {
      const own = given;
      const paced = new TransformStream<Uint8Array, Uint8Array>({
        async transform(octets, controller) {
          if (own.left <= 0) await opened.promise;
          own.left -= octets.length;
          controller.enqueue(octets);
        },
      });
      return (await store.readFrames(digests)).pipeThrough(paced);
    },
  });
  const give = (bytes: number) => {
    given = { left: bytes };
  };
  return { patchStore, give, open: opened.resolve };
}

type Agent = { readonly child: ChildProcess; readonly exit: Promise<unknown[]> };

/** Its end is listened for from the beginning: one that ends by itself, before anybody asks, must not be waited for for ever. */
function startAgent(t: TestContext, setup: ChildSetup): Agent {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'agent-child.ts'), JSON.stringify(setup)], { stdio: 'inherit' });
  endInReverse(t, () => child.kill('SIGKILL'));
  return { child, exit: once(child, 'exit') };
}

/**
 * Starts an agent and kills it when the disk holds `bytes` more of the image. What the server has sent says nothing: on a busy
 * machine megabytes of it still lie in sockets, and a disk that got nothing gives the next agent nothing to keep.
 */
async function killWhenWritten(t: TestContext, { pace, image, disk }: Prepared, setup: ChildSetup, bytes: number): Promise<void> {
  const before = await differingBytes(image, disk);
  pace.give(bytes + AHEAD_BYTES);
  const { child, exit } = startAgent(t, setup);
  await waitUntil(`${bytes} bytes are on the disk`, async () => (await differingBytes(image, disk)) <= before - bytes, {
    during: exit,
    everyMs: 200,
  });
  child.kill('SIGKILL');
  assert.deepEqual(await exit, [null, 'SIGKILL'], 'the agent had ended by itself');
}

/** Octets of 256 KiB blocks that differ, blocks of zeros left out: what a resumed deployment may have to fetch. */
async function differingBytes(imagePath: string, diskPath: string): Promise<number> {
  const [image, disk] = [await readFile(imagePath), await readFile(diskPath)];
  const block = 256 * 1024;
  const zeros = Buffer.alloc(block);
  let bytes = 0;
  for (let offset = 0; offset < image.length; offset += block) {
    const length = Math.min(block, image.length - offset);
    const wanted = image.subarray(offset, offset + length);
    if (!wanted.equals(zeros.subarray(0, length)) && !wanted.equals(disk.subarray(offset, offset + length))) bytes += length;
  }
  return bytes;
}

type Prepared = Awaited<ReturnType<typeof prepare>>;

async function prepare(t: TestContext) {
  const pace = pacedStore();
  const server: TestServer = await startServer(t, pace);
  const image = await importDisk(server, diskImage(IMAGE_MIB * MIB));
  const boot = await bootTarget(server);
  const order = await orderDemo(server);
  const disk = join(server.folder, 'disk');
  await writeRandomDisk(disk, (IMAGE_MIB + 2) * MIB);
  const { httpsUrl: url } = server.serving;
  const setup = (bootId: string, state: string): ChildSetup => ({
    ...{ url, pin: server.pin, bootId, diskPath: disk },
    ...{ stateDirectory: join(server.folder, state), log: join(server.folder, 'log') },
  });
  return { server, pace, image, boot, order, disk, setup };
}

test('an agent killed at seeded moments and started again goes on where the disk says and fetches little twice', async (t) => {
  const prepared = await prepare(t);
  const { server, pace, image, boot, order, disk, setup } = prepared;
  const moments = [...seededBytes(20_261_120, 3)].map((octet) => (octet / 256) * 5 * MIB + MIB / 2);
  for (const moment of moments) {
    await killWhenWritten(t, prepared, setup(boot.bootId, 'state'), moment);
    assert.equal((await getOrder(server.site, order.id)).diskWritten, false);
  }
  pace.open();
  const missing = await differingBytes(image, disk);
  const agent = startAgent(t, setup(boot.bootId, 'state'));
  assert.deepEqual(await agent.exit, [0, null]);
  const { figures } = await getOrder(server.site, order.id);
  assert.ok((figures?.['bytesKept'] ?? 0) > 2 * MIB, `kept ${figures?.['bytesKept']}`);
  assert.ok(
    (figures?.['bytesFetched'] ?? Number.NaN) <= missing + SLACK_BYTES,
    `fetched ${figures?.['bytesFetched']} of ${missing} missing`,
  );
  assert.equal((await compareDisk(image, disk)).differentBytes, 0);
});

test('a machine that lost power resumes with a new key after its old one fell silent, and not before', async (t) => {
  const prepared = await prepare(t);
  const { server, pace, image, boot, order, disk, setup } = prepared;
  await killWhenWritten(t, prepared, setup(boot.bootId, 'state-1'), 3 * MIB);
  pace.open();
  const bootId = await createBoot(server.site, boot.targetId, 'engine');
  const second = startAgent(t, setup(bootId, 'state-2'));
  const log = join(server.folder, 'log');
  await waitUntil('the new key is refused', async () => (await readFile(log, 'utf8')).includes('is refused: another key was heard of'));
  server.clock.offsetMs = 61_000;
  assert.deepEqual(await second.exit, [0, null]);
  const written = await getOrder(server.site, order.id);
  assert.equal(written.diskWritten, true);
  assert.ok((written.figures?.['bytesKept'] ?? 0) > 0);
  assert.equal((await compareDisk(image, disk)).differentBytes, 0);
  const refused = await server.site.db('events').where({ kind: 'agent.key-refused', subject: boot.targetId });
  assert.equal(refused.length, 1);
});
