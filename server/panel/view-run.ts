import type { ServerReport } from '../../core/control-protocol.ts';
import { isRunEnded, RUN_STATES, type RunState } from '../../core/run.ts';
import type { TreeServer } from '../../core/server-tree.ts';

/** A run as its server told it; members that an older release does not tell are null. */
export function viewRun(run: NonNullable<ServerReport['run']>): NonNullable<TreeServer['run']> {
  return {
    state: run.state,
    isEnded: isEnded(run.state),
    startedAt: run.startedAt ?? null,
    endedAt: run.endedAt ?? null,
    bytesNeeded: run.bytesNeeded ?? null,
    bytesReceived: run.bytesReceived ?? null,
    progress: run.progress ?? (run.percent === null ? null : { ...UNKNOWN, percent: run.percent }),
    error: run.error,
  };
}

const UNKNOWN = { stage: 'transfer', doneBytes: 0, totalBytes: 0, etaSeconds: null };

/** A state that a newer release has is one that goes on. */
function isEnded(state: string): boolean {
  return RUN_STATES.includes(state as RunState) && isRunEnded(state as RunState);
}
