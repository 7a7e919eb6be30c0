import type { ErrorCode } from '../../core/errors.ts';
import type { Link } from '../db/links.ts';
import type { Run } from '../db/runs.ts';
import { nextTime } from '../schedule.ts';

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

export function viewLink(link: Link, parentName: string): LinkView {
  const next = link.schedule === null ? null : (link.dueAt ?? nextTime({ schedule: link.schedule, timezone: link.timezone }));
  return {
    id: link.id,
    parent: parentName,
    schedule: link.schedule,
    timezone: link.timezone,
    nextRunAt: next === null ? null : new Date(next).toISOString(),
    heldGeneration: link.heldGeneration,
    lastRunAt: link.lastRunAt === null ? null : new Date(link.lastRunAt).toISOString(),
  };
}
