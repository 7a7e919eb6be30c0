import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { runAgent } from '../../../agent/loop.ts';
import { runCommand } from '../../../cli/main.ts';
import { callHome } from '../../../server/orders/call-home.ts';
import { getOrder } from '../../../server/orders/orders.ts';
import { diskImage, MIB, machineWith } from '../../agent/fixtures.ts';
import { agentWorld, bootTarget, importDisk, startServer, type TestServer } from '../../agent/helpers.ts';
import { writeRandomDisk } from '../../helpers/lab/disks.ts';
import { waitUntil } from '../../helpers/wait-until.ts';

function collector() {
  const parts: Buffer[] = [];
  const stream = new Writable({
    write(part, _encoding, done) {
      parts.push(Buffer.from(part));
      done();
    },
  });
  return { stream, text: () => Buffer.concat(parts).toString('utf8') };
}

/** Runs a command against the server's socket; `answer` is its JSON document. */
async function command(server: TestServer, ...argv: string[]) {
  const [stdout, stderr] = [collector(), collector()];
  const streams = { stdout: stdout.stream, stderr: stderr.stream };
  const code = await runCommand(['--data', server.site.dataDir, ...argv], { ...streams, env: {} });
  const answer = argv.includes('--json') ? JSON.parse(stdout.text()) : undefined;
  return { code, answer, stdout: stdout.text(), stderr: stderr.text() };
}

test('an order is made, shown, listed, followed to its end and not made twice from the command line', async (t) => {
  const server = await startServer(t);
  await importDisk(server, diskImage(6 * MIB));
  const boot = await bootTarget(server);
  const disk = join(server.folder, 'disk');
  await writeRandomDisk(disk, 8 * MIB);
  const made = await command(server, 'order', 'create', '--target', 'box', '--image', 'demo', '--json');
  assert.equal(made.code, 0);
  const { id, state, target, image, progress, error } = made.answer;
  assert.deepEqual(
    { state, target, image, progress, error },
    { state: 'activated', target: 'box', image: 'demo@1', progress: null, error: null },
  );
  assert.equal(JSON.stringify(made.answer).includes('nonce'), false);
  const again = await command(server, 'order', 'create', '--target', 'box', '--image', 'demo', '--json');
  assert.deepEqual([again.code, again.answer.error.code], [65, 'wrong_state']);
  const followed = command(server, 'order', 'show', id, '--wait', '--json');
  await runAgent(await agentWorld(t, server, boot, await machineWith(disk)));
  const { nonce } = await getOrder(server.site, id);
  await callHome(server.site, { orderId: id, nonce, from: 'test' });
  const ended = await followed;
  assert.deepEqual([ended.code, ended.answer.state], [0, 'current']);
  assert.deepEqual(
    (await command(server, 'order', 'list', '--json')).answer.items.map((item: { id: string }) => item.id),
    [id],
  );
  assert.match((await command(server, 'order', 'list')).stdout, /current +box +demo@1/);
  assert.match((await command(server, 'order', 'show', id)).stdout, /speed: +[\d.]+ .?B\/s to the disk/);
});

test('unknown targets, images and orders end with 66, an order that failed with 1 under --wait', async (t) => {
  const server = await startServer(t);
  await importDisk(server, diskImage(6 * MIB));
  const boot = await bootTarget(server);
  const create = (target: string, image: string) => command(server, 'order', 'create', '--target', target, '--image', image);
  assert.equal((await create('nobody', 'demo')).code, 66);
  assert.equal((await create('box', 'nothing')).code, 66);
  const unknown = await command(server, 'order', 'show', '01890000-0000-7000-8000-000000000000');
  assert.equal(unknown.code, 66);
  assert.match(unknown.stderr, /^waystation: there is no order/);
  const disk = join(server.folder, 'disk');
  await writeRandomDisk(disk, 6 * MIB);
  const world = await agentWorld(t, server, boot, await machineWith(disk));
  const running = runAgent(world);
  const failed = await command(server, 'order', 'create', '--target', 'box', '--image', 'demo', '--wait', '--json');
  assert.equal(failed.code, 1);
  assert.equal(failed.answer.error.code, 'does_not_fit');
  assert.match(failed.answer.error.message, /vda has 6291456 bytes, 6356992 are needed/);
  world.stop.abort();
  await assert.rejects(running, { code: 'cancelled' });
});

test('an order is stopped from the command line, with --yes where nobody can be asked', async (t) => {
  const server = await startServer(t);
  await importDisk(server, diskImage(6 * MIB));
  await bootTarget(server);
  const { id } = (await command(server, 'order', 'create', '--target', 'box', '--image', 'demo', '--json')).answer;
  assert.equal((await command(server, 'order', 'stop', id)).code, 64);
  const stopped = await command(server, 'order', 'stop', id, '--yes', '--json');
  assert.deepEqual([stopped.code, stopped.answer.state], [0, 'stopped']);
  const events = async (...filter: string[]): Promise<string[]> =>
    (await command(server, 'logs', ...filter, '--json')).answer.items.map(({ event }: { event: string }) => event);
  // Lines reach the file a moment later.
  await waitUntil('both lines are in the file', async () => (await events('--order', id)).length >= 2);
  assert.deepEqual(await events('--order', id), ['order.activated', 'order.stopped']);
  assert.ok((await events('--target', 'box')).includes('order.stopped'));
});

test('a key that waits for an operator is shown with its target and approved from the command line', async (t) => {
  const server = await startServer(t, { flags: { approve: 'operator' } });
  const boot = await bootTarget(server);
  const disk = join(server.folder, 'disk');
  await writeRandomDisk(disk, 2 * MIB);
  const world = await agentWorld(t, server, boot, await machineWith(disk));
  const running = runAgent(world);
  await waitUntil('the agent waits', async () => world.lines.some((line) => line.includes('waits for an operator')));
  const shown = await command(server, 'target', 'show', 'box');
  assert.match(shown.stdout, new RegExp(`agent key: +${world.identity.keyId} waits`));
  assert.equal((await command(server, 'target', 'approve', 'box', '--key', `sha256:${'0'.repeat(64)}`)).code, 65);
  assert.equal((await command(server, 'target', 'approve', 'box', '--key', world.identity.keyId)).code, 0);
  await waitUntil('the agent is let in', async () => world.lines.some((line) => line.includes('knows this machine as box')));
  world.stop.abort();
  await assert.rejects(running, { code: 'cancelled' });
});
