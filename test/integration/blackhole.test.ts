import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { listEvents } from '../../server/db/events.ts';
import { listImages } from '../../server/db/images.ts';
import { getRun, listRuns, type Run, type RunHead } from '../../server/db/runs.ts';
import { getServer, updateServer } from '../../server/db/servers.ts';
import { runOnce } from '../../server/replication.ts';
import { type PacingProxy, startPacingProxy } from '../helpers/pacing-proxy.ts';
import { importDisk, makeDisk, makePair } from '../helpers/replication-sites.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

const SILENT_MS = 6_000;
const MB = 1_000_000;
const root = await temporaryDirectory('blackhole');
let pair: Awaited<ReturnType<typeof makePair>>;
let proxy: PacingProxy;

before(async () => {
  pair = await makePair(root);
  proxy = await startPacingProxy({ bytesPerSecond: 3 * MB, latencyMs: 5 });
  proxy.setUpstream(Number(new URL(pair.serving.httpsUrl).port));
  const parent = await getServer(pair.branch.db, pair.hq.self.id);
  assert.ok(parent);
  await updateServer(pair.branch.db, { ...parent, url: `https://127.0.0.1:${proxy.port}` });
});
after(async () => {
  proxy.setSilent(false);
  await pair.close();
  await proxy.close();
});

async function newestRun(isIt: (run: RunHead) => boolean, withinMs = 30_000): Promise<RunHead> {
  let run: RunHead | undefined;
  for (const end = performance.now() + withinMs; performance.now() < end; ) {
    [run] = await listRuns(pair.branch.db, { limit: 1 });
    if (run !== undefined && isIt(run)) return run;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`waited in vain; the run: ${JSON.stringify(run)}`);
}

/** A run of a new image that has brought a quarter of it. */
async function startRun(name: string): Promise<{ ended: Promise<Run> }> {
  const path = join(root, `${name}.raw`);
  await makeDisk(path, 6 * MB);
  await importDisk(pair.hq, path, name);
  const ended = runOnce(pair.branch, { trigger: 'schedule' });
  await newestRun(({ state, progress }) => state === 'transfer' && (progress?.doneBytes ?? 0) > 1.5 * MB);
  return { ended };
}

test('a link that swallows everything for some seconds is gone on with: nothing is lost and nothing comes twice', async () => {
  const { ended } = await startRun('disk');
  proxy.setSilent(true);
  const since = performance.now();
  const held = await newestRun(() => performance.now() - since > SILENT_MS);
  assert.equal(held.state, 'transfer');
  proxy.setSilent(false);
  const run = await ended;
  assert.deepEqual([run.id, run.state, run.error], [held.id, 'done', null]);
  assert.ok((await listImages(pair.branch.db)).some(({ name, state }) => name === 'disk' && state === 'published'));
  const twice = run.bytesRsync - run.bytesNeeded;
  assert.ok(twice < 65_536, `${twice} bytes came twice`);
});

test('a run whose link breaks says so while it tries again, and no longer once octets arrive', async () => {
  const { ended } = await startRun('cut');
  proxy.setSilent(true);
  proxy.cut();
  const broken = await newestRun(({ error }) => error !== null);
  assert.deepEqual([broken.state, broken.error?.code], ['transfer', 'unreachable']);
  proxy.setSilent(false);
  const again = await newestRun(({ error }) => error === null);
  assert.equal(again.state, 'transfer');
  assert.equal((await ended).state, 'done');
  const kinds = (await listEvents(pair.branch.db, { limit: 100 })).filter(({ subject }) => subject === broken.id).map(({ kind }) => kind);
  assert.deepEqual(kinds.sort(), ['run.done', 'run.resumed', 'run.waiting']);
  assert.equal((await getRun(pair.branch.db, broken.id))?.error, null);
});
