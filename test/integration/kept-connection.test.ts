import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Run } from '../../server/db/runs.ts';
import { startReplication } from '../../server/replication.ts';
import { startServe } from '../../server/serve.ts';
import { importDisk, makeDisk, makePair } from '../helpers/replication-sites.ts';
import { runWhileServing } from '../helpers/served-run.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

const root = await temporaryDirectory('kept-connection');
const pair = await makePair(root);
let replication = startReplication(pair.branch);
after(async () => {
  await replication.close();
  await pair.close();
});

const run = (): Promise<Run> => runWhileServing(pair.branch);

test('in a running server nothing new is one request of less than 2 KB over the connection of the run before', async (t) => {
  await importDisk(pair.hq, await disk(1), 'first');
  const first = await run();
  assert.equal(first.state, 'done', first.error?.message);
  // rsync's tunnel took the connection with it: this run opens the one that is kept.
  assert.equal((await run()).state, 'done');
  for (let n = 0; n < 2; n++) {
    const nothing = await run();
    assert.equal(nothing.state, 'done');
    assert.equal(nothing.requests, 1);
    assert.equal(nothing.bytesRsync, 0);
    t.diagnostic(`${nothing.bytesReceived} bytes down, ${nothing.bytesSent} up`);
    const bytes = nothing.bytesReceived + nothing.bytesSent;
    assert.ok(bytes <= 2048, `${nothing.bytesReceived} bytes down, ${nothing.bytesSent} up`);
  }
});

test('what is new comes over the kept connection as well, with counters of its own run only', async () => {
  await importDisk(pair.hq, await disk(2), 'second');
  const second = await run();
  assert.equal(second.state, 'done', second.error?.message);
  assert.ok(second.bytesRsync >= 300_000 && second.bytesReceived < 400_000, `${second.bytesReceived} bytes`);
});

test('a parent that was restarted meanwhile is asked over a new connection', async () => {
  const port = Number(new URL(pair.serving.httpsUrl).port);
  await pair.serving.close();
  const again = await startServe({ ...pair.hq, config: { ...pair.hq.config, httpsPort: port } });
  assert.equal((await run()).state, 'done');
  await replication.close();
  await again.close();
  replication = startReplication(pair.branch);
});

async function disk(n: number): Promise<string> {
  const path = join(root, `disk-${n}.raw`);
  await makeDisk(path, 300_000);
  return path;
}
