import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { getServer } from '../../server/db/servers.ts';
import { openParent } from '../../server/replication/parent-client.ts';
import { onlyLink } from '../../server/replication.ts';
import { EMPTY_PLAN } from '../../sync/replicate/plan.ts';
import { importDisk, makeDisk, makePair } from '../helpers/replication-sites.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

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
