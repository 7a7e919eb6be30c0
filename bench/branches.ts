import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { connectLocal } from '../cli/client.ts';
import type { Digest } from '../core/ids.ts';
import { listImages } from '../server/db/images.ts';
import { getServer, updateServer } from '../server/db/servers.ts';
import { setEgress } from '../server/egress.ts';
import { runOnce } from '../server/replication.ts';
import type { Site } from '../server/site.ts';
import { issueEnrolToken } from '../server/trust/enrol-token.ts';
import { joinParent } from '../server/trust/join.ts';
import { type PacingProxy, startPacingProxy } from '../test/helpers/pacing-proxy.ts';
import { importDisk, makeDisk, makeSite } from '../test/helpers/replication-sites.ts';
import { type ServeProcess, startServeProcess } from '../test/helpers/serve-process.ts';

/*
 * Many branches fetch one image from one master on this machine, all at the same time, under the master's total: is the
 * total kept, and is it shared fairly? The master is a process of its own; the branches are real too (their own database,
 * store, rsync and pipe), side by side in this process. What each one gets is counted on its TCP connection, TLS and all.
 *
 *   node bench/branches.ts [--count 50] [--mb 4] [--mbit 16]
 */
export type BranchesBench = {
  readonly count: number;
  readonly published: number;
  readonly capBps: number;
  /** Bits per second over all branches while all of them were fetching. */
  readonly egressBps: number;
  /** How far the branch that is farthest from its even share was away from it, as a share of that; in the same time. */
  readonly unfairness: number;
  /** How long all of them were fetching at once. */
  readonly windowSeconds: number;
  readonly wallSeconds: number;
  readonly masterCpuSeconds: number;
};

type Branch = { readonly site: Site; readonly proxy: PacingProxy };
type Sample = { readonly at: number; readonly bytes: readonly number[] };

const SAMPLE_MS = 100;
/** Until all are under way the total is so much smaller: whoever starts first is not to be done before the last one starts. */
const SLOW_START = 8;
/** After that, until the rates are looked at. */
const SETTLE_MS = 500;
/** Each starts three processes here, which on one machine must not all start in the same moment. */
const APART_MS = 200;
/** Handshake and catalogue are behind who has this much: it is fetching. */
const UNDER_WAY_BYTES = 65_536;

export async function benchBranches({ count, bytes, capBps }: { count: number; bytes: number; capBps: number }): Promise<BranchesBench> {
  const root = await mkdtemp(join(tmpdir(), 'waystation-branches-'));
  const branches: Branch[] = [];
  let master: ServeProcess | undefined;
  try {
    const { tokens, manifest } = await prepareMaster(root, { count, bytes, capBps });
    master = await startServeProcess(join(root, 'hq'));
    for (const [n, token] of tokens.entries())
      branches.push(await makeBranch(root, { name: `branch-${n}`, token, port: master.httpsPort }));
    const cpuBefore = await cpuSeconds(master);
    const startedAt = performance.now();
    const samples = await replicate(branches, () => raiseTotal(join(root, 'hq'), capBps));
    const wallSeconds = (performance.now() - startedAt) / 1000;
    const published = (await Promise.all(branches.map(({ site }) => holds(site, manifest)))).filter(Boolean).length;
    return { count, published, capBps, ...judge(samples), wallSeconds, masterCpuSeconds: (await cpuSeconds(master)) - cpuBefore };
  } finally {
    for (const { site, proxy } of branches) {
      await site.close();
      await proxy.close();
    }
    await master?.stop();
    await rm(root, { recursive: true, force: true });
  }
}

async function prepareMaster(root: string, { count, bytes, capBps }: { count: number; bytes: number; capBps: number }) {
  const hq = await makeSite(root, 'hq');
  try {
    await makeDisk(join(root, 'disk.raw'), bytes);
    const { manifest } = await importDisk(hq, join(root, 'disk.raw'));
    await setEgress(hq, capBps / SLOW_START, 'bench');
    const tokens: string[] = [];
    for (let n = 0; n < count; n += 1) tokens.push((await issueEnrolToken(hq)).token);
    return { tokens, manifest };
  } finally {
    await hq.close();
  }
}

async function makeBranch(root: string, { name, token, port }: { name: string; token: string; port: number }): Promise<Branch> {
  const site = await makeSite(root, name);
  const { parent } = await joinParent(site, { url: `https://127.0.0.1:${port}`, token, actor: 'bench' });
  const proxy = await startPacingProxy({ bytesPerSecond: Number.POSITIVE_INFINITY, latencyMs: 0 });
  proxy.setUpstream(port);
  const known = await getServer(site.db, parent.id);
  if (known === undefined) throw new Error('the parent is not known after joining it');
  await updateServer(site.db, { ...known, url: `https://127.0.0.1:${proxy.port}` });
  return { site, proxy };
}

/**
 * Lets them run, one soon after the other and slowly until the last one is under way (`onAllUnderWay`); gives what each
 * had received, again and again, from then until the first one has ended.
 */
async function replicate(branches: readonly Branch[], onAllUnderWay: () => Promise<void>): Promise<readonly Sample[]> {
  const samples: Sample[] = [];
  let hasOneEnded = false;
  const runs = branches.map(async ({ site }, n) => {
    await sleep(n * APART_MS);
    const run = await runOnce(site, { trigger: 'command' });
    hasOneEnded = true;
    if (run.state !== 'done') throw new Error(`a run ended ${run.state}: ${run.error?.message}`);
  });
  const watch = async () => {
    while (!hasOneEnded && branches.some(({ proxy }) => proxy.bytes.down < UNDER_WAY_BYTES)) await sleep(SAMPLE_MS);
    await onAllUnderWay();
    await sleep(SETTLE_MS);
    for (; !hasOneEnded; await sleep(SAMPLE_MS)) {
      samples.push({ at: performance.now(), bytes: branches.map(({ proxy }) => proxy.bytes.down) });
    }
  };
  await Promise.all([watch(), ...runs]).finally(() => Promise.allSettled(runs));
  return samples;
}

/** As `server egress set` does: transfers under way obey at once. */
async function raiseTotal(dataDir: string, bps: number): Promise<void> {
  await (await connectLocal(dataDir)).put('/api/v1/egress', { mbit: bps / 1e6 });
}

function judge(samples: readonly Sample[]): Pick<BranchesBench, 'egressBps' | 'unfairness' | 'windowSeconds'> {
  const [first] = samples;
  const last = samples.at(-1);
  if (first === undefined || last === undefined || first === last) {
    throw new Error('they were never all under way at once: give --mb more or --mbit less');
  }
  const seconds = (last.at - first.at) / 1000;
  const received = last.bytes.map((bytes, n) => bytes - (first.bytes[n] ?? 0));
  const total = received.reduce((sum, bytes) => sum + bytes, 0);
  const share = total / received.length;
  const unfairness = Math.max(...received.map((bytes) => Math.abs(bytes - share) / share));
  return { egressBps: (total * 8) / seconds, unfairness, windowSeconds: seconds };
}

async function holds(site: Site, manifest: Digest): Promise<boolean> {
  return (await listImages(site.db)).some((image) => image.manifest === manifest && image.state === 'published');
}

/** User and system time of the master's process, by /proc/PID/stat (proc(5): fields 14 and 15, in hundredths of a second). */
async function cpuSeconds({ child }: ServeProcess): Promise<number> {
  const fields = (await readFile(`/proc/${child.pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function print(bench: BranchesBench): void {
  const mbit = (bps: number) => `${(bps / 1e6).toFixed(2)} Mbit/s`;
  const rows = [
    ['branches that published', `${bench.published} of ${bench.count}`],
    ['egress, total set', mbit(bench.capBps)],
    ['egress, measured', `${mbit(bench.egressBps)} (${((bench.egressBps / bench.capBps - 1) * 100).toFixed(1)} %)`],
    ['farthest from an even share', `${(bench.unfairness * 100).toFixed(1)} %`],
    ['all were fetching for', `${bench.windowSeconds.toFixed(1)} s of ${bench.wallSeconds.toFixed(1)} s`],
    ['CPU of the master (without its rsyncs)', `${bench.masterCpuSeconds.toFixed(1)} s`],
  ];
  console.log(['| what | measured |', '|---|---|', ...rows.map(([what, figure]) => `| ${what} | ${figure} |`)].join('\n'));
}

if (import.meta.main) {
  const options = {
    count: { type: 'string', default: '50' },
    mb: { type: 'string', default: '4' },
    mbit: { type: 'string', default: '16' },
  } as const;
  const { values } = parseArgs({ options });
  const [count, mb, mbit] = [values.count, values.mb, values.mbit].map(Number) as [number, number, number];
  print(await benchBranches({ count, bytes: mb * 1e6, capBps: mbit * 1e6 }));
}
