import { atPace, type Forecast, forecast } from '../../core/schedule/forecast.ts';
import { mustStopAt } from '../../core/schedule/windows.ts';
import type { EgressShare } from '../../core/sync-protocol.ts';
import type { Link } from '../db/links.ts';
import { findUnfinishedRun, listRuns, type Run, type RunHead } from '../db/runs.ts';
import { lackingOf } from '../replication/lacking.ts';
import { getShare } from '../replication/share.ts';
import type { Site } from '../site.ts';
import { zoneOf } from './cron.ts';
import { nextLinkStart, nextStart } from './next-start.ts';

/** A run that brought less says nothing about the line. */
const TELLING_BYTES = 1_000_000;

/**
 * When what a link lacks will be here, as far as the parent told what that is; `exact`: the bytes are no estimate. `needs`: what somebody
 * must do first, since no run starts by itself.
 */
export type LinkForecast = Forecast & { readonly exact: boolean; readonly needs: 'resume' | 'run' | null };

/** Undefined while nobody asked (`sync plan`) and nothing runs. */
export async function forecastLink(site: Site, link: Link): Promise<LinkForecast | undefined> {
  const running = await findUnfinishedRun(site.db, link.id);
  const lacking = (running && (await lackingOf(site, running))) ?? link.forecast;
  if (lacking === null) return undefined;
  const share = await getShare(site.db, link);
  const lineBps = await lineRate(site, link, share);
  const now = site.now();
  const needs = running === undefined ? neededFor(link, now) : null;
  const planned = forecastRun(link, { bytes: lacking.bytes, now, run: running, lineBps, share });
  return { ...seenPace(link, { planned, running, now }), exact: lacking.exact, needs };
}

/** What `sync status` says of a transfer and of the plan is one thing. */
function seenPace(link: Link, { planned, running, now }: { planned: Forecast; running: RunHead | undefined; now: number }): Forecast {
  const progress = running?.progress ?? null;
  if (running === undefined || progress?.stage !== 'transfer' || progress.etaSeconds === null) return planned;
  const stopAt = running.inWindow ? mustStopAt(link.windows, zoneOf(link.timezone), running.startedAt) : null;
  return atPace(planned, { now, etaSeconds: progress.etaSeconds, stopAt });
}

function neededFor(link: Link, now: number): LinkForecast['needs'] {
  if (link.paused !== null) return 'resume';
  return nextLinkStart(link, now) === null ? 'run' : null;
}

export type RunToForecast = {
  readonly bytes: number;
  readonly now: number;
  /** The run that is at it; undefined: the next one. */
  readonly run: Pick<Run, 'startedAt' | 'inWindow'> | undefined;
  readonly lineBps: number | null;
  /** What the parent's limit leaves us; null: none, or what is seen tells already. */
  readonly share: EgressShare | null;
};

export function forecastRun(link: Link, { bytes, now, run, lineBps, share }: RunToForecast): Forecast {
  const first = run === undefined ? nextLinkStart(link, now) : null;
  return forecast({
    bytes,
    now,
    runningSince: run?.startedAt ?? null,
    isInWindow: run === undefined ? first !== null : run.inWindow,
    zone: zoneOf(link.timezone),
    windows: link.windows,
    caps: link.caps,
    lineBps,
    share,
    nextStart: (after) => (after === now && first !== null ? Math.max(first, now) : nextStart(link, after)),
  });
}

/** Bits per second that the last run which brought something got, unless a cap or the parent's limit kept it there. */
async function lineRate(site: Site, link: Link, share: EgressShare | null): Promise<number | null> {
  const isHeld = (bps: number) => isHeldBack(link, bps) || [share?.bps, share?.leastBps].some((one) => explains(one ?? null, bps));
  const kept = link.rateBytes === null ? null : link.rateBytes * 8;
  if (kept !== null) return isHeld(kept) ? null : kept;
  const runs = await listRuns(site.db, { linkId: link.id, limit: 5 });
  const telling = runs.find(({ state, bytesRsync }) => state === 'done' && bytesRsync >= TELLING_BYTES);
  if (telling === undefined || telling.endedAt === null) return null;
  const bps = (telling.bytesReceived * 8000) / Math.max(1, telling.endedAt - telling.startedAt);
  return isHeld(bps) ? null : bps;
}

/** Whether a cap of the link explains the rate: then the line may give more. */
export function isHeldBack({ caps }: Link, bps: number): boolean {
  return [caps.bps, caps.office?.bps ?? null].some((cap) => explains(cap, bps));
}

function explains(limit: number | null, bps: number): boolean {
  return limit !== null && bps > 0.7 * limit && bps < 1.1 * limit;
}
