import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { listImages } from '../../server/db/images.ts';
import { runOnce } from '../../server/replication.ts';
import { howMany } from '../helpers/how-many.ts';
import { importDisk, makeDisk, makePair, reopenSite } from '../helpers/replication-sites.ts';
import { CLEAN_ENV } from '../helpers/run-cli.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

/*
 * A run killed at its k-th rename, fsync or commit: not when a timer says, but in each of them, whichever thread or program
 * makes it (database, index of the store, packs, rsync). strace holds every such call before it is carried out and says so;
 * while it is held, the server is killed. What strace itself kills by, the k-th call of one thread, leaves out those of the others.
 */
const POINTS = howMany({ sample: 2, full: Number.POSITIVE_INFINITY });
const MAIN = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
/** SQLite commits with fsync, or fdatasync where it was built for that. */
const CALLS = ['rename', 'fsync', 'fdatasync'] as const;
/** How long a call is held: time to read that it is, on a busy machine too. */
const HELD_MS = 100;

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

type Ended = { readonly calls: readonly string[]; readonly code: number | null; readonly isKilledInside: boolean };

/** `sync run` on the branch as it was before the second version; with `k` killed while its k-th call is held. */
async function runUnderStrace(k?: number): Promise<Ended> {
  await rm(dir, { recursive: true });
  await cp(kept, dir, { recursive: true });
  const log = join(root, 'strace.log');
  await writeFile(log, '');
  // Without what is compiled already: to keep it, Node renames files too, and in the first run only.
  const env = { ...CLEAN_ENV, NODE_COMPILE_CACHE: '', UV_THREADPOOL_SIZE: '1', WAYSTATION_STORE_RESERVE_BYTES: '1000000' };
  const command = [process.execPath, '--no-warnings', MAIN, '--data', dir, 'sync', 'run', '--json'];
  const trace = ['-e', `trace=${CALLS.join(',')}`, '-e', `inject=${CALLS.join(',')}:delay_enter=${HELD_MS}ms`];
  const child = spawn('strace', ['-f', '-qq', '-y', '-o', log, ...trace, ...command], { env, stdio: 'ignore' });
  const exited = once(child, 'exit') as Promise<[number | null]>;
  while (child.exitCode === null && child.signalCode === null && k !== undefined) {
    if ((await readCalls(log)).length < k) await Promise.race([sleep(2), exited]);
    else {
      const [server] = (await readFile(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8')).split(' ');
      assert.ok(Number(server) > 1, 'strace has no child');
      process.kill(Number(server), 'SIGKILL');
      break;
    }
  }
  const [code] = await exited;
  const calls = await readCalls(log);
  return { calls, code, isKilledInside: k !== undefined && / <unfinished \.\.\.>$|\?$/.test(calls[k - 1] ?? '') };
}

/** The lines in which calls begin, in the order in which they began. */
async function readCalls(log: string): Promise<string[]> {
  return (await readFile(log, 'utf8')).split('\n').filter((line) => /^\d+ +(rename|fsync|fdatasync)\(/.test(line));
}

test('a run that is killed at any rename, fsync or commit shows old or new, loses nothing, and the next one completes', {
  timeout: POINTS === 2 ? 240_000 : 6 * 3_600_000,
}, async (t) => {
  const whole = await runUnderStrace();
  assert.equal(whole.code, 0, 'the run without a kill');
  const points = whole.calls.map((_, n) => n + 1);
  const every = Math.max(1, Math.floor(points.length / POINTS));
  const chosen = points.filter((_, n) => n % every === every - 1).slice(0, POINTS);
  const killed = { inside: 0, behind: 0, 'not reached': 0 };
  for (const k of chosen) {
    const { code, calls, isKilledInside } = await runUnderStrace(k);
    if (code === 0) assert.ok(calls.length < k, `call ${k} was not killed`);
    killed[isKilledInside ? 'inside' : code === 0 ? 'not reached' : 'behind'] += 1;
    await checkBranch(`killed in ${calls[k - 1]}`);
  }
  t.diagnostic(
    `K = ${points.length} points (${countWords(whole.calls.map(placeOf))}), ${chosen.length} tried: ` +
      `${killed.inside} killed in the call, ${killed.behind} right behind it, ${killed['not reached']} not reached; 0 lost, 0 half visible`,
  );
  assert.ok(killed.inside > 0 && killed['not reached'] <= chosen.length / 10, JSON.stringify(killed));
});

/** `fsync of db.sqlite-wal`; names that differ from run to run are left out. */
function placeOf(line: string): string {
  const [, call = '', path = ''] = /^\d+ +(\w+)\((?:\d+<|")([^>"]*)/.exec(line) ?? [];
  const place = path.slice(dir.length + 1).replace(/[0-9a-f-]{36}/, 'ID');
  return `${call} of ${place.startsWith('store/incoming') ? 'a part, by rsync' : place || 'the directory'}`;
}

function countWords(words: readonly string[]): string {
  return [...new Set(words)].map((word) => `${words.filter((one) => one === word).length} ${word}`).join(', ');
}

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
