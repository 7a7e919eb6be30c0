import { atPace, type Forecast, forecast } from '../../core/schedule/forecast.ts';
import { mustStopAt } from '../../core/schedule/windows.ts';
import type { Link } from '../db/links.ts';
import { findUnfinishedRun, listRuns, type Run, type RunHead } from '../db/runs.ts';
import { lackingOf } from '../replication/lacking.ts';
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
  const lineBps = await lineRate(site, link);
  const now = site.now();
  const needs = running === undefined ? neededFor(link, now) : null;
  const planned = forecastRun(link, { bytes: lacking.bytes, now, run: running, lineBps });
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
};

export function forecastRun(link: Link, { bytes, now, run, lineBps }: RunToForecast): Forecast {
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
    nextStart: (after) => (after === now && first !== null ? Math.max(first, now) : nextStart(link, after)),
  });
}

/** Bits per second that the last run which brought something got, unless a cap kept it there. */
async function lineRate(site: Site, link: Link): Promise<number | null> {
  const kept = link.rateBytes === null ? null : link.rateBytes * 8;
  if (kept !== null) return isHeldBack(link, kept) ? null : kept;
  const runs = await listRuns(site.db, { linkId: link.id, limit: 5 });
  const telling = runs.find(({ state, bytesRsync }) => state === 'done' && bytesRsync >= TELLING_BYTES);
  if (telling === undefined || telling.endedAt === null) return null;
  const bps = (telling.bytesReceived * 8000) / Math.max(1, telling.endedAt - telling.startedAt);
  return isHeldBack(link, bps) ? null : bps;
}

/** Whether a cap of the link explains the rate: then the line may give more. */
export function isHeldBack({ caps }: Link, bps: number): boolean {
  return [caps.bps, caps.office?.bps ?? null].some((cap) => cap !== null && bps > 0.7 * cap && bps < 1.1 * cap);
}
