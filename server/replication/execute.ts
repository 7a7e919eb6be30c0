import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import { isRunEnded } from '../../core/run.ts';
import { diskFull } from '../../sync/replicate/free-space.ts';
import { EMPTY_PLAN, parsePlan } from '../../sync/replicate/plan.ts';
import type { RunTools } from '../../sync/replicate/ports.ts';
import { executeRun } from '../../sync/replicate/run.ts';
import { openPipeListener } from '../../sync/tunnel/pipe-listener.ts';
import { requireQuota } from '../care/quota.ts';
import { acquireLease, type Lease, releaseLease, renewLease } from '../db/leases.ts';
import { getLink, type Link } from '../db/links.ts';
import { adoptRun, getRun, type Run } from '../db/runs.ts';
import { getServer } from '../db/servers.ts';
import { freeBytes } from '../free-bytes.ts';
import { withForecast } from '../schedule/progress.ts';
import { watchStops } from '../schedule/stops.ts';
import type { Site } from '../site.ts';
import { openGivers } from './content-givers.ts';
import { keptWork } from './kept-work.ts';
import { rememberLacking } from './lacking.ts';
import { openParent } from './parent-client.ts';
import { openRecords } from './records.ts';

const LEASE_MS = 60_000;
/** How soon, and how seldom at last, a run looks whether there is room again. */
const SPACE_WAIT_MS = 2_000;
const LONGEST_SPACE_WAIT_MS = 60_000;

/** How patient a run is with a parent that does not answer: a person waits seconds, the night minutes; a repair comes again by itself. */
const PATIENCE = { command: 4, other: 8 } as const;
/** How long a run waits for a parent that is in the middle of its own. */
const WAIT_MS = { command: 120_000, other: 1_800_000 } as const;

/**
 * Takes the unfinished run of a link and works on it until it ends, under the link's lease. Undefined when there is
 * none. Our own lease of a process that died is taken over at once: DIR/lock says that it is dead.
 *
 * A full disk is no end: with `waitsForSpace` it goes on when there is room, else the run stays unfinished with its words.
 *
 * Throws `run_in_progress` when another process works on the link, and what aborting `signal` gives (the run stays
 * unfinished then, for the next one).
 */
export async function executeUnfinishedRun(
  site: Site,
  linkId: Id,
  signal: AbortSignal,
  { waitsForSpace = false }: { waitsForSpace?: boolean } = {},
): Promise<Run | undefined> {
  const link = await getLink(site.db, linkId);
  if (link === undefined) return undefined;
  const lease = await acquireLease(site.db, { name: `link:${link.id}`, holder: site.self.id, ttlMs: LEASE_MS, now: site.now() });
  if (lease === undefined) throw inProgress();
  try {
    const run = await adoptRun(site.db, link.id, lease.fencing);
    if (run === undefined) return undefined;
    await underLease(site, { lease, signal }, (held) => untilStopped(site, { run, link, signal: held, waitsForSpace }));
    const ended = await getRun(site.db, run.id);
    if (ended !== undefined) await rememberLacking(site, ended);
    return ended;
  } catch (error) {
    throw isDatabaseFull(error) ? diskFull(site.dataDir, 'cannot write its records', error) : error;
  } finally {
    // A lease that cannot be given back ends by itself.
    await releaseLease(site.db, lease).catch((error) => site.log.warn('the lease of a link stays', { error: String(error) }));
  }
}

/** SQLITE_FULL (https://www.sqlite.org/rescode.html): the run stays unfinished, and is gone on with when there is room. */
function isDatabaseFull(error: unknown): boolean {
  return (error as { errcode?: number } | null)?.errcode === 13;
}

/** Keeps the lease while `body` runs, and stops it when the lease is lost. */
async function underLease(
  site: Site,
  { lease, signal }: { lease: Lease; signal: AbortSignal },
  body: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const lost = new AbortController();
  const renew = async () => {
    const isOurs = await renewLease(site.db, lease, { ttlMs: LEASE_MS, now: site.now() });
    if (!isOurs) lost.abort(inProgress());
  };
  const timer = setInterval(() => renew().catch((error) => lost.abort(error)), LEASE_MS / 3);
  try {
    await body(AbortSignal.any([signal, lost.signal]));
  } finally {
    clearInterval(timer);
  }
}

type Work = { readonly run: Run; readonly link: Link; readonly signal: AbortSignal; readonly waitsForSpace: boolean };

/** Works on the run until it ends, its window closes or the link is paused. */
async function untilStopped(site: Site, { run, link, signal, waitsForSpace }: Work): Promise<void> {
  const stops = await watchStops(site, run);
  try {
    await work(site, { run, link, signal: AbortSignal.any([signal, stops.signal]), waitsForSpace });
  } finally {
    await stops.close();
  }
}

async function work(site: Site, { run, link, signal, waitsForSpace }: Work): Promise<void> {
  const log = site.log.child({ runId: run.id });
  log.info('replication run', { state: run.state, trigger: run.trigger, fencing: run.fencing });
  const known = await getServer(site.db, link.parentId);
  if (known === undefined) throw new Error(`link ${link.id} names a server that is not there`);
  const incoming = join(site.dataDir, 'store', 'incoming');
  await mkdir(incoming, { recursive: true, mode: 0o700 });
  await mkdir(join(site.dataDir, 'run'), { recursive: true, mode: 0o700 });
  const isHasty = run.trigger === 'command' || run.trigger === 'repair';
  const waitMs = isHasty ? WAIT_MS.command : WAIT_MS.other;
  const parent = openParent(site, { parent: known, link, waitMs, signal });
  const givers = await openGivers(site, { parent: known, client: parent, link, runId: run.id });
  // Last: from here on something is open that must be closed.
  const pipes = await openPipeListener(join(site.dataDir, 'run', 'sync.sock'));
  const { traffic } = givers;
  const tools: RunTools = {
    catalogue: parent,
    content: givers,
    slow: { percent: site.config.slowPercent, windowMs: site.config.slowSeconds * 1000 },
    records: withForecast(site, { run, records: openRecords(site, { run, link, traffic, sources: givers.given }) }),
    store: site.store,
    pipes,
    incoming,
    freeBytes: () => freeBytes(incoming),
    reserveBytes: site.config.storeReserveBytes,
    requireQuota: (bytes) => requireQuota(site, bytes),
    onRsyncBytes: givers.count,
    monotonicMs: () => performance.now(),
    sleep: (ms) => sleep(ms, signal),
    waitForSpace: async (failures) => {
      if (waitsForSpace) await sleep(Math.min(LONGEST_SPACE_WAIT_MS, SPACE_WAIT_MS * 2 ** (failures - 1)), signal);
      return waitsForSpace;
    },
    signal,
    patience: isHasty ? PATIENCE.command : PATIENCE.other,
  };
  const plan = parsePlan(run.plan);
  const start = { state: 'waiting-parent', plan: { ...EMPTY_PLAN, ...(await keptWork(site, link)) } } as const;
  let isSound = false;
  try {
    const state = await executeRun(tools, plan === undefined ? start : { state: run.state, plan });
    isSound = state === 'done';
    log.info(isRunEnded(state) ? 'replication run ended' : 'replication run stays unfinished', { state, ...traffic() });
  } finally {
    await givers.keepRates();
    givers.close(isSound);
    await pipes.close();
  }
}

/** Ends early, without an error, when the signal aborts: the caller looks at it. */
function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
}

function inProgress(): AppError {
  return new AppError('run_in_progress', 'a replication run of this link is in progress already', {
    hint: 'waystation sync status shows it',
  });
}
