import assert from 'node:assert/strict';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { newId } from '../../core/ids.ts';
import { READ_ENCODINGS } from '../../core/negotiate.ts';
import { takeRequests } from '../../server/control/ask.ts';
import { APPROVALS } from '../../server/control/offers/decide.ts';
import { issueTicket } from '../../server/control/offers/tickets.ts';
import { openChannel } from '../../server/control/parent-channel.ts';
import { putApproval } from '../../server/db/approvals.ts';
import { getRun } from '../../server/db/runs.ts';
import { getServer, updateServer } from '../../server/db/servers.ts';
import { openParent } from '../../server/replication/parent-client.ts';
import { onlyLink, requestRun } from '../../server/replication.ts';
import { type Serving, startServe } from '../../server/serve.ts';
import { lockPart } from '../../sync/replicate/incoming.ts';
import { EMPTY_PLAN } from '../../sync/replicate/plan.ts';
import { importDisk, makeDisk, makePair } from '../helpers/replication-sites.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';
import { waitUntil } from '../helpers/wait-until.ts';

test('a parent that is told to stop does so in seconds, whatever children have open', async () => {
  const root = await temporaryDirectory('stop-parent');
  const { hq, serving, branch } = await makePair(root);
  await makeDisk(join(root, 'disk.raw'), 2_000_000);
  const { manifest } = await importDisk(hq, join(root, 'disk.raw'));
  const known = (await getServer(branch.db, hq.self.id)) ?? assert.fail();
  const parent = openParent(branch, { parent: known, link: await onlyLink(branch) });
  try {
    const { key } = await parent.requestArchive({ ...EMPTY_PLAN, want: [manifest] });
    // A tunnel in which the child says nothing: so its line would look in the middle of a night.
    const { link } = await parent.openTunnel(key);
    const ended = new Promise((resolve) => link.on('error', () => undefined).on('close', resolve));
    link.resume();
    assert.ok((await closeMs(serving)) < 10_000);
    await ended;
  } finally {
    parent.close(false);
    await branch.close();
    await serving.close();
    await hq.close();
  }
});

test('a child whose parent takes connections and says nothing is told to stop, and does', async () => {
  const root = await temporaryDirectory('stop-child');
  const pair = await makePair(root);
  const taken: Socket[] = [];
  const silent = createServer((socket) => void taken.push(socket));
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const { port } = silent.address() as AddressInfo;
  const known = (await getServer(pair.branch.db, pair.hq.self.id)) ?? assert.fail();
  await updateServer(pair.branch.db, { ...known, url: `https://127.0.0.1:${port}` });
  const serving = await startServe(pair.branch);
  try {
    const id = await requestRun(pair.branch, { trigger: 'command' });
    await waitUntil('somebody works on the run', async () => ((await getRun(pair.branch.db, id))?.fencing ?? 0) > 0, {
      limitMs: 10_000,
      everyMs: 20,
      despiteErrors: true,
    });
    // For control, reports and the run.
    await waitUntil('all of them ask the parent', async () => taken.length > 2, { limitMs: 10_000, everyMs: 20, despiteErrors: true });
    assert.ok((await closeMs(serving)) < 6_000);
  } finally {
    for (const socket of taken) socket.destroy();
    silent.close();
    await pair.close();
  }
});

test('a child whose run waits for the rsync of a killed predecessor is told to stop, and does', async () => {
  const root = await temporaryDirectory('stop-locked');
  const pair = await makePair(root);
  await makeDisk(join(root, 'disk.raw'), 1_000_000);
  const { manifest } = await importDisk(pair.hq, join(root, 'disk.raw'));
  const [part] = (await pair.hq.store.buildArchive({ have: [], want: [manifest], encodings: READ_ENCODINGS })).parts;
  const incoming = join(pair.branch.dataDir, 'store', 'incoming');
  const stuck = await lockPart(incoming, part?.name ?? assert.fail());
  const serving = await startServe(pair.branch);
  try {
    const id = await requestRun(pair.branch, { trigger: 'command' });
    const find = () => getRun(pair.branch.db, id);
    await waitUntil('the run waits', async () => (await find())?.state === 'transfer', { limitMs: 20_000, state: find });
    assert.ok((await closeMs(serving)) < 6_000);
    assert.deepEqual([(await find())?.state, (await find())?.error], ['transfer', null], 'the next process goes on with it');
  } finally {
    await stuck.release();
    await pair.close();
  }
});

test('a server that waits for the answer of one below is told to stop, and does', async () => {
  const pair = await makePair(await temporaryDirectory('stop-asking'));
  const { hq, branch, serving } = pair;
  try {
    const decision = { imageId: newId(), fromId: branch.self.id, state: 'approved', actor: 'test', words: null } as const;
    await putApproval(hq.db, { ...decision, origin: hq.self.id, now: Date.now() });
    hq.wake.notify(APPROVALS);
    await waitUntil('the child is asked', () => takeRequests(hq, branch.self.id).length > 0, { limitMs: 10_000 });
    assert.ok((await closeMs(serving)) < 6_000);
  } finally {
    await pair.close();
  }
});

test('a child that is told to stop closes what it serves a parent that takes its offers', async () => {
  const { hq, branch, close } = await makePair(await temporaryDirectory('stop-offering'));
  const channel = openChannel(branch, hq.self.id);
  try {
    const { ticket, arrived } = issueTicket(hq, branch.self.id, newId());
    const { socket } = await channel.upgrade('tunnel', { ticket });
    (await arrived).link.resume();
    channel.close();
    await waitUntil('the connection is closed', () => socket.closed, { limitMs: 3_000 });
    await assert.rejects(channel.upgrade('tunnel', { ticket }), { code: 'cancelled' });
  } finally {
    channel.close();
    await close();
  }
});

async function closeMs(serving: Serving): Promise<number> {
  const startedMs = performance.now();
  await serving.close();
  return performance.now() - startedMs;
}
