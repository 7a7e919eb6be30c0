import assert from 'node:assert/strict';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { runAgent } from '../../agent/loop.ts';
import { FIRST_BOOT_MAGIC, FIRST_BOOT_RECORD_BYTES } from '../../core/agent-protocol.ts';
import { callHome } from '../../server/orders/call-home.ts';
import { getOrder } from '../../server/orders/orders.ts';
import { compareDisk, writeRandomDisk } from '../helpers/lab/disks.ts';
import { diskImage, MIB, machineWith } from './fixtures.ts';
import { agentWorld, bootTarget, importDisk, orderDemo, startServer } from './helpers.ts';

async function readRecord(path: string) {
  const file = await open(path);
  const { size } = await file.stat();
  const record = Buffer.alloc(FIRST_BOOT_RECORD_BYTES);
  await file.read(record, 0, record.length, size - record.length);
  await file.close();
  return record;
}

test('an ordered image reaches a used disk whole, with the first-boot record behind it, and the machine is rebooted', async (t) => {
  const server = await startServer(t);
  const image = await importDisk(server, diskImage(40 * MIB));
  const boot = await bootTarget(server);
  const order = await orderDemo(server);
  const disk = join(server.folder, 'disk');
  await writeRandomDisk(disk, 44 * MIB);
  const machine = await machineWith(disk);
  const world = await agentWorld(t, server, boot, machine);
  await runAgent(world);

  const { differentBytes } = await compareDisk(image, disk);
  assert.equal(differentBytes, 0);
  assert.deepEqual(
    machine.did.filter((what) => what !== 'drop caches'),
    ['clock', 'reboot'],
  );
  const written = await getOrder(server.site, order.id);
  assert.equal(written.state, 'installing');
  assert.equal(written.diskWritten, true);
  assert.ok((written.figures?.['bytesPerSecond'] ?? 0) > 0);
  const record = (await readRecord(disk)).toString('utf8');
  assert.ok(record.startsWith(FIRST_BOOT_MAGIC));
  const facts = JSON.parse(record.split('\n')[1] ?? '');
  assert.deepEqual(facts, {
    url: server.serving.httpsUrl,
    ca: `${server.site.keys.caPem.trim()}\n`,
    orderId: order.id,
    nonce: written.nonce,
  });
});

test('a disk that holds the image already is compared, not fetched again', async (t) => {
  const server = await startServer(t);
  await importDisk(server, diskImage(40 * MIB));
  const boot = await bootTarget(server);
  const disk = join(server.folder, 'disk');
  await writeRandomDisk(disk, 44 * MIB);
  const fetched: number[] = [];
  for (const _round of [1, 2]) {
    const order = await orderDemo(server);
    const world = await agentWorld(t, server, boot, await machineWith(disk));
    await server.site.db('agent_keys').delete();
    await runAgent(world);
    const { figures, nonce } = await getOrder(server.site, order.id);
    fetched.push(figures?.['bytesFetched'] ?? Number.NaN);
    await callHome(server.site, { orderId: order.id, nonce, from: 'test' });
  }
  // What is fetched the second time is the table of contents and the head, which is emptied first.
  assert.ok((fetched[0] ?? 0) > 18 * MIB, `first ${fetched[0]}`);
  assert.ok((fetched[1] ?? 0) < 4 * MIB, `second ${fetched[1]}`);
  assert.equal((await readFile(disk)).length, 44 * MIB);
});
