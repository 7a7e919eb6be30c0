import type { ErrorCode } from '../../core/errors.ts';
import type { LateWay, Obstacle } from '../../core/schedule/decide.ts';
import type { Link } from '../db/links.ts';
import type { Run } from '../db/runs.ts';
import { nextLinkStart } from '../schedule/next-start.ts';

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
  readonly progress: Run['progress'];
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
  /** Null without a schedule, and while paused. */
  readonly nextRunAt: string | null;
  readonly heldGeneration: number;
  readonly lastRunAt: string | null;
};

export function viewRun(run: Run): RunView {
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
    progress: run.progress,
    error: run.error,
  };
}

export function viewLink(link: Link, { parentName, now }: { parentName: string; now: number }): LinkView {
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
    nextRunAt: orNull(nextLinkStart(link, now)),
    heldGeneration: link.heldGeneration,
    lastRunAt: orNull(link.lastRunAt),
  };
}

/** Bits per second as people say them. */
export function toMbit(bps: number | null): number | null {
  return bps === null ? null : bps / 1_000_000;
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

function orNull(ms: number | null): string | null {
  return ms === null ? null : isoTime(ms);
}
