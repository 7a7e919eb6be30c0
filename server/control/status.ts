import { statfs } from 'node:fs/promises';
import type { ServerReport } from '../../core/control-protocol.ts';
import { isoTime } from '../../core/iso-time.ts';
import packageJson from '../../package.json' with { type: 'json' };
import { listLinks } from '../db/links.ts';
import { markChanged } from '../db/outbox.ts';
import { listRuns } from '../db/runs.ts';
import { listAlarmWords } from '../holdings/alarms.ts';
import { listHoldings } from '../holdings/list.ts';
import { listRingWishes } from '../holdings/ring-wish.ts';
import type { HoldingView } from '../holdings/view.ts';
import { nextLinkStart } from '../schedule/next-start.ts';
import { SCHEDULES } from '../schedule/topic.ts';
import type { Site } from '../site.ts';
import { fenceWords, readFence } from '../succession/fence.ts';
import { listManaged } from './link-wish.ts';
import { listPolicies } from './policies.ts';

/** How often it is looked whether there is something new to say of this server, and after how long it is said anyway. */
const LOOK_EVERY_MS = 30_000;
const SAY_AGAIN_MS = 300_000;
/** A run changes every moment. */
const BREATH_MS = 2_000;
const MOST_IMAGES = 500;

/** What a file system has, in blocks of `bsize` octets. */
export type Disk = { readonly bavail: number; readonly blocks: number; readonly bsize: number };

export function readDisk(site: Site): Promise<Disk> {
  return statfs(site.dataDir);
}

/** What we tell of ourselves. Who asks within a transaction has read the `disk` before: everybody else waits for that transaction. */
export async function describeSelf(site: Site, disk?: Disk): Promise<ServerReport> {
  const { bavail, blocks, bsize } = disk ?? (await readDisk(site));
  const images = await listHoldings(site, { isMeasured: false });
  const now = site.now();
  const fence = await readFence(site.db);
  return {
    id: site.self.id,
    name: site.self.name,
    version: packageJson.version,
    at: new Date(now).toISOString(),
    startedAt: new Date(now - Math.round(process.uptime() * 1000)).toISOString(),
    disk: { freeBytes: bavail * bsize, totalBytes: blocks * bsize },
    images: images.slice(0, MOST_IMAGES).map(toldOf),
    run: await describeRun(site),
    link: await describeLink(site, now),
    settings: await listPolicies(site),
    managed: await listManaged(site.db),
    rings: await listRingWishes(site.db),
    alarms: [
      ...(fence === undefined ? [] : [fenceWords(fence)]),
      ...(bavail * bsize < site.config.storeReserveBytes ? ['less free space than storeReserveBytes: runs and imports are refused'] : []),
      ...(await listAlarmWords(site)),
    ],
  };
}

function toldOf({
  image,
  state,
  wanted,
  held,
  verifiedAt,
  bytesMissing,
  role,
  choice,
  error,
}: HoldingView): ServerReport['images'][number] {
  return {
    reference: image,
    state,
    ...(wanted && bytesMissing !== null && bytesMissing > 0 ? { missingBytes: bytesMissing } : {}),
    ...(role === null || role === 'older' ? {} : { role }),
    ...(choice === null ? {} : { choice }),
    ...(held && verifiedAt !== null ? { verifiedAt } : {}),
    ...(error === null ? {} : { error: error.message.slice(0, 512) }),
    ...(wanted ? {} : { wanted }),
  };
}

async function describeRun(site: Site): Promise<ServerReport['run']> {
  if ((await listLinks(site.db)).length === 0) return null;
  const [run] = await listRuns(site.db, { limit: 1 });
  if (run === undefined) return null;
  const { id, state, error, progress, bytesNeeded, bytesReceived } = run;
  return {
    id,
    state,
    percent: progress?.percent ?? null,
    error: error?.message.slice(0, 1024) ?? null,
    code: error?.code ?? null,
    startedAt: new Date(run.startedAt).toISOString(),
    endedAt: isoTime(run.endedAt),
    bytesNeeded,
    bytesReceived,
    progress,
  };
}

async function describeLink(site: Site, now: number): Promise<NonNullable<ServerReport['link']> | null> {
  const [link] = await listLinks(site.db);
  if (link === undefined) return null;
  const { parentId, schedule, lastRunAt, paused, afterParent } = link;
  return {
    parentId,
    schedule,
    afterParent,
    nextRunAt: isoTime(nextLinkStart(link, now)),
    lastRunAt: isoTime(lastRunAt),
    paused: paused === null ? null : { by: paused.by, since: new Date(paused.at).toISOString() },
    ...{ timezone: link.timezone, ...link.windows, late: link.late, capMbit: link.caps.bps === null ? null : link.caps.bps / 1_000_000 },
  };
}

/** What makes a report worth telling again: not the time, and not every megabyte. */
export function newsOf({ at: _at, startedAt: _startedAt, disk, ...facts }: ServerReport): string {
  return JSON.stringify([facts, Math.round(disk.freeBytes / 1e9)]);
}

/** Keeps the report of ourselves fresh for the servers above us. */
export async function watchSelf(site: Site, signal: AbortSignal): Promise<void> {
  let said = '';
  let saidAt = Number.NEGATIVE_INFINITY;
  while (!signal.aborted) {
    const over = new AbortController();
    const until = AbortSignal.any([signal, over.signal]);
    // A run, a pause, another schedule: who looks from afar sees it at once.
    const woken = Promise.race(['runs', SCHEDULES].map((topic) => site.wake.wait(topic, LOOK_EVERY_MS, until)));
    try {
      const news = newsOf(await describeSelf(site));
      if (news !== said || performance.now() - saidAt >= SAY_AGAIN_MS) {
        await markChanged(site.db, 'server', site.self.id);
        site.wake.notify('events');
        said = news;
        saidAt = performance.now();
      }
    } catch (error) {
      site.log.warn('the report of this server could not be made', { error: String(error) });
    }
    await woken;
    over.abort();
    await site.wake.wait('breath', BREATH_MS, signal);
  }
}
