import type { ErrorCode } from '../../core/errors.ts';
import { isoTime } from '../../core/iso-time.ts';
import type { LateWay, Obstacle } from '../../core/schedule/decide.ts';
import { forecastWords } from '../../core/schedule/forecast.ts';
import type { Link } from '../db/links.ts';
import type { RunHead } from '../db/runs.ts';
import { zoneOf } from '../schedule/cron.ts';
import type { LinkForecast } from '../schedule/forecast.ts';
import { nextLinkStart } from '../schedule/next-start.ts';
import { unscheduledWords } from '../schedule/unscheduled.ts';

/** A run as others script against it; times ISO 8601, bytes of the TLS sockets of all its attempts. */
export type RunView = {
  readonly id: string;
  readonly link: string;
  readonly state: string;
  readonly trigger: string;
  readonly generation: number;
  readonly bytesNeeded: number;
  readonly bytesReceived: number;
  readonly bytesSent: number;
  /** Payload that went through rsync. */
  readonly bytesRsync: number;
  readonly requests: number;
  readonly startedAt: string;
  readonly endedAt: string | null;
  /** Which servers gave how much: the parent, further sources. */
  readonly sources: RunHead['sources'];
  readonly progress: RunHead['progress'];
  readonly error: { readonly code: ErrorCode; readonly message: string; readonly hint?: string } | null;
};

export type LinkView = {
  readonly id: string;
  readonly parent: string;
  readonly schedule: string | null;
  readonly timezone: string;
  /** When a run may start and must stop, on the clock of `timezone`; late runs follow (`chain`) or are passed over (`skip`). */
  readonly mayStart: string | null;
  readonly mustStop: string | null;
  readonly late: LateWay;
  /** Mbit/s (10^6 bits); null: no cap. */
  readonly capMbit: number | null;
  readonly officeHours: string | null;
  readonly officeCapMbit: number | null;
  readonly paused: { readonly by: string; readonly since: string } | null;
  /** A run that was due and could not start: it follows as soon as it may. */
  readonly owed: { readonly since: string; readonly why: Obstacle } | null;
  /** A run starts whenever the parent has published. */
  readonly afterParent: boolean;
  /** In words, when nothing starts by itself, with the command that changes it. */
  readonly unscheduled: string | null;
  /** Null without a schedule, and while paused. */
  readonly nextRunAt: string | null;
  readonly heldGeneration: number;
  readonly lastRunAt: string | null;
  /** What the parent last said that we lack, and when it will be here; null while nobody asked and nothing runs. */
  readonly plan: PlanView | null;
};

export type PlanView = {
  readonly bytes: number;
  /** Whether the bytes are those of an archive that is built, or an estimate. */
  readonly exact: boolean;
  readonly startsAt: string;
  /** Null: not known (no cap, no transfer measured), or never. */
  readonly doneBy: string | null;
  /** Time of transfer alone. */
  readonly durationSeconds: number | null;
  /** Whether one run brings it all before it must stop. */
  readonly fits: boolean | null;
  readonly nights: number | null;
  /** What the parent's limit leaves this site, where that decides; null: it does not. */
  readonly parentMbit: number | null;
  /** The same in words: `done by 05:40`, on the clock of the link's time zone. */
  readonly words: string;
};

export function viewRun(run: RunHead): RunView {
  return {
    id: run.id,
    link: run.linkId,
    state: run.state,
    trigger: run.trigger,
    generation: run.generation,
    bytesNeeded: run.bytesNeeded,
    bytesReceived: run.bytesReceived,
    bytesSent: run.bytesSent,
    bytesRsync: run.bytesRsync,
    requests: run.requests,
    startedAt: new Date(run.startedAt).toISOString(),
    endedAt: run.endedAt === null ? null : new Date(run.endedAt).toISOString(),
    sources: run.sources,
    progress: run.progress,
    error: run.error,
  };
}

type LinkContext = { readonly parentName: string; readonly now: number; readonly plan: LinkForecast | undefined };

export function viewLink(link: Link, { parentName, now, plan }: LinkContext): LinkView {
  const { windows, caps, paused, owed } = link;
  return {
    id: link.id,
    parent: parentName,
    schedule: link.schedule,
    timezone: link.timezone,
    mayStart: windows.mayStart,
    mustStop: windows.mustStop,
    late: link.late,
    capMbit: toMbit(caps.bps),
    officeHours: caps.office?.hours ?? null,
    officeCapMbit: toMbit(caps.office?.bps ?? null),
    paused: paused === null ? null : { by: paused.by, since: isoTime(paused.at) },
    owed: owed === null ? null : { since: isoTime(owed.since), why: owed.why },
    afterParent: link.afterParent,
    unscheduled: unscheduledWords(link),
    nextRunAt: isoTime(nextLinkStart(link, now)),
    heldGeneration: link.heldGeneration,
    lastRunAt: isoTime(link.lastRunAt),
    plan: plan === undefined ? null : viewPlan(plan, link),
  };
}

/** What comes before the words of a plan that nothing carries out by itself. */
const NEEDS = {
  resume: 'nothing starts while the link is paused; resumed in time: ',
  run: 'nothing starts by itself; started now ("sync run"): ',
} as const;

function viewPlan(plan: LinkForecast, { timezone }: Link): PlanView {
  const { bytes, exact, startsAt, doneBy, durationSeconds, fits, nights, parent } = plan;
  const condition = plan.needs === null || plan.doneBy === null || bytes === 0 ? '' : NEEDS[plan.needs];
  const words = condition + forecastWords(plan, zoneOf(timezone));
  const parentMbit = toMbit(parent?.bps ?? null);
  return { bytes, exact, startsAt: isoTime(startsAt), doneBy: isoTime(doneBy), durationSeconds, fits, nights, parentMbit, words };
}

/** Bits per second as people say them. */
export function toMbit(bps: number | null): number | null {
  return bps === null ? null : bps / 1_000_000;
}
