import assert from 'node:assert/strict';
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, test } from 'node:test';
import { connectLocal } from '../../cli/client.ts';
import { isRunEnded, type RunState } from '../../core/run.ts';
import { listImages } from '../../server/db/images.ts';
import type { RunView } from '../../server/replication/view.ts';
import { howMany } from '../helpers/how-many.ts';
import { orElse } from '../helpers/or-else.ts';
import { type PacingProxy, startPacingProxy } from '../helpers/pacing-proxy.ts';
import { makeSite, makeVersion, reopenSite } from '../helpers/replication-sites.ts';
import { runJson } from '../helpers/run-cli.ts';
import { randomFrom } from '../helpers/seeded.ts';
import { type ServeProcess, startServeProcess } from '../helpers/serve-process.ts';
import { temporaryDirectory } from '../helpers/temp-directory.ts';

/**
 * Two real servers with a slow link between them; kill -9 lands on one of them before the run is done, again and again.
 * SEED sets which. From 20 on every stage and both sides are hit at least twice.
 */
const KILLS = howMany({ sample: 3, full: 200 });
const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
const BYTES_PER_SECOND = 3_000_000;
const SIZES = { newBytes: 4_000_000, changedBytes: 1_000_000 };
const KILLS_PER_IMAGE = 6;
const FRAME_BYTES = 1_048_576;
/** One frame, and what it costs to meet again: TLS, catalogue, plan, rsync's greeting. */
const RESENT_PER_KILL = FRAME_BYTES + 65_536;
const STAGES = ['waiting-parent', 'toc', 'diff', 'archive', 'transfer', 'verify', 'publish'] as const;

type Blow = { readonly side: 'child' | 'parent'; readonly stage: RunState };
const ENV = { WAYSTATION_STORE_RESERVE_BYTES: '1000000' };
const root = await temporaryDirectory('kills');
const hqDir = join(root, 'hq');
const branchDir = join(root, 'branch');
const random = randomFrom(SEED);
let hq: ServeProcess | undefined;
let branch: ServeProcess | undefined;
let proxy: PacingProxy | undefined;
after(async () => {
  await branch?.kill();
  await hq?.kill();
  await proxy?.close();
});

test(`${KILLS} kills before the run is done lose at most a frame each and nothing else (seed ${SEED})`, {
  timeout: 60_000 + KILLS * 30_000,
}, async (t) => {
  proxy = await startPacingProxy({ bytesPerSecond: BYTES_PER_SECOND, latencyMs: 10 });
  await setUp(proxy);
  const wanted = planBlows();
  const disks = new Map<string, Buffer>();
  const landed: string[] = [];
  let missed = 0;
  const link = { needed: 0, sent: 0 };
  for (let version = 1; wanted.length > 0; version += 1) {
    assert.ok(missed < 10, `${missed} runs ended before a blow fell; still wanted: ${JSON.stringify(wanted)}`);
    const path = join(root, `disk-${version}.raw`);
    const disk = await makeVersion(path, SIZES, [...disks.values()].at(-1));
    const { code, document } = await runJson<{ manifest: string }>(['--data', hqDir, 'image', 'import', path, '--name', 'disk']);
    assert.equal(code, 0, JSON.stringify(document));
    disks.set(document.manifest, disk);
    const before = proxy.bytes.down;
    let kills = 0;
    let run = await startRun();
    while (!isRunEnded(run.state)) {
      const blow = await strikeOrEnd({ id: run.id, shown: version - 1 }, kills < KILLS_PER_IMAGE ? wanted : []);
      if (blow !== undefined) {
        kills += 1;
        const { side, stage } = blow;
        landed.push(`${side} in ${stage}`);
        wanted.splice(wanted.indexOf(blow), 1);
        t.diagnostic(`kill ${landed.length}, seed ${SEED}: ${side} in ${stage}, ${proxy.bytes.down - before} bytes on the link`);
      }
      run = readRun(run.id);
      if (run.state === 'failed' || run.state === 'partial') run = await startRun();
    }
    if (kills === 0) missed += 1;
    assert.equal(run.state, 'done', run.error ?? '');
    const sent = proxy.bytes.down - before;
    const limit = run.bytesNeeded * 1.02 + 65_536 + kills * RESENT_PER_KILL;
    assert.ok(sent <= limit, `${sent} bytes on the link for ${run.bytesNeeded} needed and ${kills} kills`);
    t.diagnostic(`image ${version}: ${kills} kills, ${run.bytesNeeded} bytes needed, ${sent} on the link`);
    link.needed += run.bytesNeeded;
    link.sent += sent;
  }
  assert.deepEqual(wanted, [], 'blows that never landed');
  const perKill = Math.round((link.sent - link.needed) / landed.length);
  const places = [...new Set(landed)].sort().map((place) => `${landed.filter((one) => one === place).length} ${place}`);
  t.diagnostic(`${landed.length} kills (${places.join(', ')}): 0 lost, 0 half visible, every next run done`);
  t.diagnostic(`${link.sent} bytes on the link, TLS and rsync's words included, for ${link.needed} of frames: ${perKill} a kill`);
  assert.ok(link.sent <= link.needed + landed.length * FRAME_BYTES, 'more than a frame a kill came again');
  await branch?.stop();
  await hq?.stop();
  await checkBranch(disks);
});

async function setUp(link: PacingProxy): Promise<void> {
  const site = await makeSite(root, 'hq');
  const { issueEnrolToken } = await import('../../server/trust/enrol-token.ts');
  const { joinParent } = await import('../../server/trust/join.ts');
  const { token } = await issueEnrolToken(site);
  await site.close();
  hq = await startServeProcess(hqDir, ENV);
  link.setUpstream(hq.httpsPort);
  const child = await makeSite(root, 'branch');
  await joinParent(child, { url: `https://127.0.0.1:${link.port}`, token, actor: 'test' });
  await child.close();
  branch = await startServeProcess(branchDir, ENV);
}

/** What is to be hit, in an order that the seed shuffles. */
function planBlows(): Blow[] {
  const all: Blow[] = STAGES.flatMap((stage) => [{ side: 'child', stage } as const, { side: 'child', stage } as const]);
  const parentStages = ['transfer', 'transfer', 'transfer', 'transfer', 'archive', 'waiting-parent'] as const;
  const parent: Blow[] = parentStages.map((stage) => ({ side: 'parent', stage }));
  const more: Blow[] = Array.from({ length: Math.max(0, KILLS - 20) }, () => {
    const stage = STAGES[Math.floor(random() * STAGES.length)] ?? 'transfer';
    return { side: random() < 0.7 ? 'child' : 'parent', stage };
  });
  // A short run is to meet both sides in the long stage at least.
  const first: Blow[] = [all[8], parent[0]].filter((blow) => blow !== undefined);
  const rest = [...all.filter((blow) => blow !== first[0]), ...parent.slice(1), ...more];
  for (let n = rest.length - 1; n > 0; n -= 1) {
    const other = Math.floor(random() * (n + 1));
    [rest[n], rest[other]] = [rest[other] as Blow, rest[n] as Blow];
  }
  return [...first, ...rest].slice(0, Math.max(KILLS, 2));
}

async function startRun(): Promise<ReturnType<typeof readRun>> {
  const client = await connectLocal(branchDir);
  return readRun((await client.post<RunView>('/api/v1/runs')).id);
}

/**
 * Waits until the run is in a stage in which a blow is wanted, strikes, sees that the branch shows the versions of before and no
 * more, and starts the side again; gives the blow. Undefined when the run ended before.
 */
async function strikeOrEnd({ id, shown }: { id: string; shown: number }, wanted: readonly Blow[]): Promise<Blow | undefined> {
  const deadline = performance.now() + 60_000;
  const share = 0.1 + random() * 0.8;
  const begun = bytesOnDisk();
  const watch = watchRun(id);
  const strike = async (side: Blow['side']) => {
    await kill(side);
    assert.equal(watch.shown(), shown, `${side} killed in ${watch.state()}: versions that the branch shows`);
  };
  try {
    for (;;) {
      assert.ok(performance.now() < deadline, `run ${id} stands still: ${JSON.stringify(readRun(id))}`);
      const state = watch.state();
      if (isRunEnded(state)) return undefined;
      const isFarEnough = state !== 'transfer' || bytesOnDisk() >= begun + share * (SIZES.newBytes - begun);
      const blow = isFarEnough ? wanted.find(({ stage }) => stage === state) : undefined;
      if (blow !== undefined && (await watch.freeze(state, () => strike(blow.side)))) {
        await startAgain(blow.side);
        return blow;
      }
      if (state === 'transfer') assert.ok(countWriters() <= 1, 'two processes write one part');
      await new Promise((resolve) => (state === 'transfer' ? setTimeout(resolve, 5) : setImmediate(resolve)));
    }
  } finally {
    watch.close();
  }
}

async function kill(side: Blow['side']): Promise<void> {
  await (side === 'child' ? branch : hq)?.kill();
}

async function startAgain(side: Blow['side']): Promise<void> {
  if (side === 'child') {
    branch = await startServeProcess(branchDir, ENV);
    return;
  }
  hq = await startServeProcess(hqDir, ENV);
  proxy?.setUpstream(hq.httpsPort);
}

/**
 * Looks at a run's state many times in a millisecond. `freeze` takes the database's write lock, so that the run cannot
 * leave a stage that lasts a millisecond, and acts only if it is still in it.
 */
function watchRun(id: string): {
  state: () => RunState;
  /** How many versions the branch shows. */
  shown: () => number;
  freeze: (state: RunState, act: () => Promise<void>) => Promise<boolean>;
  close: () => void;
} {
  const db = new DatabaseSync(join(branchDir, 'db.sqlite'), { timeout: 2000 });
  const query = db.prepare('select state from runs where id = ?');
  const state = () => (query.get(id) as { state: RunState }).state;
  const published = db.prepare("select count(*) as n from images where state = 'published'");
  return {
    state,
    shown: () => Number((published.get() as { n: number }).n),
    close: () => db.close(),
    freeze: async (expected, act) => {
      db.exec('begin immediate');
      try {
        if (state() !== expected) return false;
        await act();
        return true;
      } finally {
        db.exec('rollback');
      }
    },
  };
}

/** The run as the branch's database has it, whether its server lives or not. */
function readRun(id: string) {
  const db = new DatabaseSync(join(branchDir, 'db.sqlite'), { readOnly: true });
  try {
    const row = db.prepare('select state, bytes_needed, error from runs where id = ?').get(id) as {
      state: RunState;
      bytes_needed: number;
      error: string | null;
    };
    return { id, state: row.state, bytesNeeded: Number(row.bytes_needed), error: row.error };
  } finally {
    db.close();
  }
}

/** Bytes of parts that lie in DIR/store/incoming. */
function bytesOnDisk(): number {
  const incoming = join(branchDir, 'store', 'incoming');
  return listNames(incoming).reduce((sum, name) => sum + fileSize(join(incoming, name, name)), 0);
}

/** How many processes hold a part of the branch open for writing. */
function countWriters(): number {
  const incoming = join(branchDir, 'store', 'incoming');
  const writers = listNames('/proc').filter(
    (pid) => /^\d+$/.test(pid) && readText(`/proc/${pid}/comm`) === 'rsync\n' && isWriter(pid, incoming),
  );
  return writers.length;
}

function isWriter(pid: string, incoming: string): boolean {
  return listNames(`/proc/${pid}/fd`).some((fd) => {
    const isPart = readLink(`/proc/${pid}/fd/${fd}`).startsWith(`${incoming}/`);
    const flags = isPart ? Number.parseInt(/flags:\s*(\d+)/.exec(readText(`/proc/${pid}/fdinfo/${fd}`))?.[1] ?? '0', 8) : 0;
    return (flags & 3) !== 0;
  });
}

async function checkBranch(disks: Map<string, Buffer>): Promise<void> {
  const site = await reopenSite(root, 'branch');
  try {
    assert.deepEqual((await site.store.check()).damages, []);
    const images = await listImages(site.db);
    assert.deepEqual(
      images.map((image) => image.state),
      [...disks].map(() => 'published'),
    );
    for (const { manifest, name, version } of images) {
      const path = join(root, `${name}-${version}.export`);
      await site.store.exportDisk(manifest, path);
      assert.ok(disks.get(manifest)?.equals(await readFile(path)), `${name}@${version} differs`);
    }
    assert.deepEqual(listNames(join(branchDir, 'store', 'incoming')), []);
  } finally {
    await site.close();
  }
}

const listNames = (path: string) => orElse(() => readdirSync(path), []);
const readText = (path: string) => orElse(() => readFileSync(path, 'utf8'), '');
const readLink = (path: string) => orElse(() => readlinkSync(path), '');
const fileSize = (path: string) => orElse(() => statSync(path).size, 0);
