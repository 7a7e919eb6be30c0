import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { listImages } from '../../server/db/images.ts';
import { runOnce } from '../../server/replication.ts';
import { howMany } from '../helpers/how-many.ts';
import { importDisk, makeDisk, makePair, reopenSite } from '../helpers/replication-sites.ts';
import { CLEAN_ENV } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

/*
 * A run killed at its k-th rename, fsync or commit: not when a timer says, but at each of them (strace injects SIGKILL; one
 * thread for files, so that k is the same call every time).
 */
const POINTS = howMany({ sample: 2, full: Number.POSITIVE_INFINITY });
const MAIN = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
/** SQLite commits with fsync, or fdatasync where it was built for that. */
const CALLS = ['rename', 'fsync', 'fdatasync'] as const;
type Call = (typeof CALLS)[number];

const root = await temporaryDirectory('crash-points');
const dir = join(root, 'branch');
const kept = join(root, 'kept');
const manifests: string[] = [];
let pair: Awaited<ReturnType<typeof makePair>>;

before(async () => {
  pair = await makePair(root);
  const disk = await makeDisk(join(root, 'disk.raw'), 2_000_000);
  manifests.push((await importDisk(pair.hq, join(root, 'disk.raw'))).manifest);
  assert.equal((await runOnce(pair.branch, { trigger: 'command' })).state, 'done');
  await pair.branch.close();
  // The second version changes an octet in each block of half of the first: it comes as delta frames.
  for (let at = 2_100_000; at < 3_000_000; at += 4096) disk[at] = ((disk[at] ?? 0) + 1) % 256;
  await writeFile(join(root, 'disk.raw'), disk);
  manifests.push((await importDisk(pair.hq, join(root, 'disk.raw'))).manifest);
  await cp(dir, kept, { recursive: true, filter: (path) => !path.endsWith('.sock') });
});
after(async () => {
  await pair.serving.close();
  await pair.hq.close();
});

/** `sync run` on the branch as it was before the second version, under strace. */
async function runUnderStrace(options: readonly string[]): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
  await rm(dir, { recursive: true });
  await cp(kept, dir, { recursive: true });
  const env = { ...CLEAN_ENV, UV_THREADPOOL_SIZE: '1', WAYSTATION_STORE_RESERVE_BYTES: '1000000' };
  const command = [process.execPath, '--no-warnings', MAIN, '--data', dir, 'sync', 'run', '--json'];
  const child = spawn('strace', ['-f', '-qq', '-e', `trace=${CALLS.join(',')}`, ...options, ...command], { env, stdio: 'ignore' });
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  return { code, signal };
}

/** How often each call is made, by the thread that makes it most often: strace counts each thread on its own. */
async function countCalls(): Promise<Map<Call, number>> {
  const log = join(root, 'strace.log');
  const { code } = await runUnderStrace(['-o', log]);
  assert.equal(code, 0, 'the run without a kill');
  const lines = (await readFile(log, 'utf8')).split('\n').map((line) => /^(\d+) +(\w+)\(/.exec(line));
  const most = (call: Call) => {
    const threads = new Map<string, number>();
    for (const line of lines) if (line?.[2] === call) threads.set(line[1] ?? '', (threads.get(line[1] ?? '') ?? 0) + 1);
    return Math.max(0, ...threads.values());
  };
  return new Map(CALLS.map((call) => [call, most(call)]));
}

test('a run that is killed at any rename, fsync or commit shows old or new, loses nothing, and the next one completes', {
  timeout: POINTS === 2 ? 240_000 : 6 * 3_600_000,
}, async (t) => {
  const counts = await countCalls();
  const points = CALLS.flatMap((call) => Array.from({ length: counts.get(call) ?? 0 }, (_, n) => ({ call, k: n + 1 })));
  const every = Math.max(1, Math.floor(points.length / POINTS));
  const chosen = points.filter((_, n) => n % every === every - 1).slice(0, POINTS);
  let killed = 0;
  for (const { call, k } of chosen) {
    const { signal, code } = await runUnderStrace(['-o', '/dev/null', '-e', `inject=${call}:signal=KILL:when=${k}`]);
    if (signal === 'SIGKILL' || code !== 0) killed += 1;
    await checkBranch(`${call} ${k}`);
  }
  t.diagnostic(
    `K = ${points.length} points (${[...counts].map(([call, n]) => `${n} ${call}`).join(', ')}), ${chosen.length} tried, ${killed} killed: 0 lost, 0 half visible`,
  );
  assert.ok(killed > 0);
});

async function checkBranch(where: string): Promise<void> {
  const site = await reopenSite(root, 'branch');
  try {
    for (const { manifest, state } of await listImages(site.db)) {
      if (state === 'published') assert.deepEqual((await site.store.verifyImage(manifest)).damages, [], where);
    }
    assert.ok(
      (await listImages(site.db)).some(({ manifest }) => manifest === manifests[0]),
      `${where}: the version before is gone`,
    );
    const ended = await runOnce(site, { trigger: 'command' });
    assert.deepEqual([ended.state, ended.error], ['done', null], where);
    const shown = (await listImages(site.db)).filter(({ state }) => state === 'published').map(({ manifest }) => manifest);
    assert.deepEqual(shown.sort(), [...manifests].sort(), where);
    assert.deepEqual((await site.store.check()).damages, [], where);
  } finally {
    await site.close();
  }
}
