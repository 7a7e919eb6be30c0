import assert from 'node:assert/strict';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { getRun } from '../../server/db/runs.ts';
import { getServer, updateServer } from '../../server/db/servers.ts';
import { openParent } from '../../server/replication/parent-client.ts';
import { onlyLink, requestRun } from '../../server/replication.ts';
import { startServe } from '../../server/serve.ts';
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
    const startedMs = performance.now();
    await serving.close();
    const ms = performance.now() - startedMs;
    assert.ok(ms < 10_000, `${Math.round(ms)} ms`);
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
    const startedMs = performance.now();
    await serving.close();
    const ms = performance.now() - startedMs;
    assert.ok(ms < 6_000, `${Math.round(ms)} ms`);
  } finally {
    for (const socket of taken) socket.destroy();
    silent.close();
    await pair.close();
  }
});
