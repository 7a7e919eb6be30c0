import { mayStartAt, type Windows } from './windows.ts';
import type { Zone } from './zone.ts';

/** What becomes of a run that cannot start when it is due: it follows as soon as it may, or its turn is passed over. */
export const LATE_WAYS = ['chain', 'skip'] as const;
export type LateWay = (typeof LATE_WAYS)[number];

/** Why a run that was due did not start (or go on): one is still going, its window is shut, the link is paused, here or by the parent. */
export type Obstacle = 'running' | 'window' | 'paused' | 'parent';

/** Everything that decides whether a run starts by itself now. Times are epoch ms. */
export type LinkClock = {
  readonly now: number;
  /** The next time of the cron expression; null: no schedule. */
  readonly dueAt: number | null;
  /** Since when a late run is owed, and what was in its way. */
  readonly owed: { readonly since: number; readonly why: Obstacle } | null;
  readonly isPaused: boolean;
  readonly isRunning: boolean;
  /** The parent said that it has paused us: it is not asked again before then. */
  readonly restUntil: number | null;
  readonly late: LateWay;
  readonly windows: Windows;
  readonly zone: Zone;
};

/**
 * `start`: put a run in the queue. `owe`: a due time passed, its run is to follow. `skip`: it passed and nothing follows.
 * `wait`: nothing to do before `until` (null: until something changes). After each but `wait` the next due time is
 * taken from the expression when the one that was there has passed.
 */
export type StartDecision =
  | { readonly do: 'start'; readonly trigger: 'schedule' | 'catch-up' | 'chain' | 'resume' }
  | { readonly do: 'owe' | 'skip'; readonly why: Obstacle; readonly until: number | null }
  | { readonly do: 'wait'; readonly until: number | null };

/** A timer that fires this late still counts as on time; what is later was missed, and is caught up. */
const TOLERANCE_MS = 60_000;

const TRIGGERS = { running: 'chain', window: 'catch-up', paused: 'resume', parent: 'resume' } as const;

/** Decides from the clock alone. However often a run was missed, one follows. */
export function decideStart(clock: LinkClock): StartDecision {
  const { now, dueAt, owed } = clock;
  const isDue = dueAt !== null && dueAt <= now;
  const obstacle = findObstacle(clock);
  if (isDue && obstacle !== undefined) return { do: owed === null && clock.late === 'skip' ? 'skip' : 'owe', ...obstacle };
  if (obstacle === undefined && owed !== null) return { do: 'start', trigger: TRIGGERS[owed.why] };
  if (isDue) return { do: 'start', trigger: now - dueAt > TOLERANCE_MS ? 'catch-up' : 'schedule' };
  const moments = [dueAt, owed === null ? null : (obstacle?.until ?? null)].filter((at) => at !== null);
  return { do: 'wait', until: moments.length === 0 ? null : Math.min(...moments) };
}

function findObstacle({
  now,
  isPaused,
  isRunning,
  restUntil,
  windows,
  zone,
}: LinkClock): { why: Obstacle; until: number | null } | undefined {
  if (isPaused) return { why: 'paused', until: null };
  if (isRunning) return { why: 'running', until: null };
  if (restUntil !== null && restUntil > now) return { why: 'parent', until: restUntil };
  const opensAt = mayStartAt(windows, zone, now);
  return opensAt > now ? { why: 'window', until: opensAt } : undefined;
}
