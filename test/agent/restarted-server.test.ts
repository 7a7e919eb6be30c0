import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { openClient } from '../../agent/client.ts';
import { makeIdentity } from '../../agent/identity.ts';
import { runAgent } from '../../agent/loop.ts';
import type { ContentStore } from '../../core/content-store.ts';
import { getOrder } from '../../server/orders/orders.ts';
import { startServe } from '../../server/serve.ts';
import { endInReverse } from '../helpers/end-in-reverse.ts';
import { compareDisk, writeRandomDisk } from '../helpers/lab/disks.ts';
import { waitUntil } from '../helpers/wait-until.ts';
import { diskImage, inventoryOf, MIB, machineWith } from './fixtures.ts';
import { agentWorld, bootTarget, importDisk, orderDemo, startServer } from './helpers.ts';

test('a deployment goes on after its server was restarted in the middle', async (t) => {
  const sent = { bytes: 0 };
  const restarted = Promise.withResolvers<void>();
  const slow = (store: ContentStore): Partial<ContentStore> => ({
    readFrames: async (digests) => {
      const pace = new TransformStream<Uint8Array, Uint8Array>({
        async transform(octets, controller) {
          // In the middle nothing more is sent until the server was told to stop, and then waits for its streams in vain.
          if (sent.bytes > 6 * MIB) await restarted.promise;
          sent.bytes += octets.length;
          controller.enqueue(octets);
        },
      });
      return (await store.readFrames(digests)).pipeThrough(pace);
    },
  });
  const server = await startServer(t, { patchStore: slow });
  const image = await importDisk(server, diskImage(40 * MIB));
  const boot = await bootTarget(server);
  const order = await orderDemo(server);
  const disk = join(server.folder, 'disk');
  await writeRandomDisk(disk, 41 * MIB);
  const world = await agentWorld(t, server, boot, await machineWith(disk));
  const running = runAgent(world);
  await waitUntil('6 MiB are sent', async () => sent.bytes > 6 * MIB);
  await server.serving.close();
  assert.equal((await getOrder(server.site, order.id)).diskWritten, false);
  const httpsPort = Number(new URL(server.serving.httpsUrl).port);
  const again = await startServe({ ...server.site, config: { ...server.site.config, httpsPort } });
  endInReverse(t, again.close);
  restarted.resolve();
  await running;
  const { figures, diskWritten } = await getOrder(server.site, order.id);
  assert.equal(diskWritten, true);
  assert.equal((await compareDisk(image, disk)).differentBytes, 0);
  // What arrived before is not asked for again: at most what was on the way twice.
  assert.ok((figures?.['bytesFetched'] ?? Number.NaN) < 26 * MIB, `fetched ${figures?.['bytesFetched']}`);
});

test('an agent sends nothing to a server that the pinned CA does not vouch for', async (t) => {
  const server = await startServer(t);
  const { bootId } = await bootTarget(server);
  const client = openClient(server.serving.httpsUrl, `sha256:${'00'.repeat(32)}` as never, await makeIdentity());
  endInReverse(t, client.close);
  const hello = { protocol: 1, bootId, agentVersion: 'test', inventory: inventoryOf({ sizeBytes: MIB }) };
  await assert.rejects(client.hello(hello), { code: 'denied', message: /not vouched for by the pinned CA/ });
  assert.equal(await server.site.db('agent_keys').first(), undefined);
});
