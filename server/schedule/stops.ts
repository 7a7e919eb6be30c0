import { AppError } from '../../core/errors.ts';
import { mustStopAt } from '../../core/schedule/windows.ts';
import { getLink, type Link, type Pause } from '../db/links.ts';
import type { Run } from '../db/runs.ts';
import type { Site } from '../site.ts';
import { zoneOf } from './cron.ts';
import { nextStart } from './next-start.ts';
import { SCHEDULES } from './topic.ts';

const LOOK_AGAIN_MS = 5_000;

/**
 * Watches over a run: `signal` aborts with `window_closed` when the run keeps to the link's window and must stop, and
 * with `disabled` when the link is paused. Both are told at once when they are so already.
 */
export async function watchStops(site: Site, run: Run): Promise<{ readonly signal: AbortSignal; readonly close: () => Promise<void> }> {
  const stop = new AbortController();
  const closing = new AbortController();
  const look = async (): Promise<number> => {
    const link = await getLink(site.db, run.linkId);
    const { reason, inMs } = link === undefined ? NOTHING : stopOf(link, run, site.now());
    if (reason !== undefined) stop.abort(reason);
    return inMs;
  };
  let inMs = await look();
  const watch = async () => {
    while (!closing.signal.aborted && !stop.signal.aborted) {
      await site.wake.wait(SCHEDULES, Math.min(LOOK_AGAIN_MS, inMs), closing.signal);
      // The database may be away for a while: the run has the same trouble and says so.
      inMs = await look().catch(() => LOOK_AGAIN_MS);
    }
  };
  const watching = watch();
  return {
    signal: stop.signal,
    close: async () => {
      closing.abort();
      await watching;
    },
  };
}

/** Throws `disabled` when the link is paused: nothing is started then, by nobody. */
export function refusePaused(link: Link): void {
  if (link.paused !== null) throw paused(link.paused);
}

type Stop = { readonly reason?: AppError; readonly inMs: number };
const NOTHING: Stop = { inMs: LOOK_AGAIN_MS };

function stopOf(link: Link, run: Run, now: number): Stop {
  if (link.paused !== null) return { ...NOTHING, reason: paused(link.paused) };
  if (!run.inWindow) return NOTHING;
  const stopAt = mustStopAt(link.windows, zoneOf(link.timezone), run.startedAt);
  if (stopAt === null) return NOTHING;
  return stopAt <= now ? { ...NOTHING, reason: windowClosed(link, now) } : { inMs: stopAt - now };
}

function paused({ at, by }: Pause): AppError {
  return new AppError('disabled', `the link is paused by ${by} since ${new Date(at).toISOString()}; what came is kept`, {
    hint: 'waystation sync resume',
  });
}

function windowClosed(link: Link, now: number): AppError {
  const next = nextStart(link, now);
  const goesOn = next === null ? 'the next run goes on' : `the next run goes on at ${new Date(next).toISOString()}`;
  return new AppError('window_closed', `runs must stop at ${link.windows.mustStop} (${link.timezone}): what came is kept, ${goesOn}`, {
    hint: 'waystation sync plan says how many nights it takes; waystation sync run goes on now',
  });
}
