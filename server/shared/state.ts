import type { AppError, ErrorCode } from '../../core/errors.ts';
import type { Failure } from './failure.ts';

/** How it stands with the shared database. `since` is epoch ms by our own clock. */
export type SharedState =
  /** It was not needed yet. */
  | { readonly state: 'unknown' }
  | { readonly state: 'connected'; readonly since: number; readonly problem: string | null }
  | {
      readonly state: 'unreachable';
      readonly since: number;
      readonly code: ErrorCode;
      readonly words: string;
      readonly hint: string | null;
    };

/**
 * Remembers how the last contact went. While the database is away one call at a time looks whether it is back, the next one
 * `RETRY_MS` after it, and the others are told at once what was told last: nobody waits for a dead host in a queue.
 */
export type Contact = {
  state(): SharedState;
  /** For how long it is connected by now, whatever the clock says, ms; 0 while it is not. */
  connectedMs(): number;
  /** Throws what is known when somebody else looks already; true: the database is away, and whoever asks looks whether it is back. */
  enter(): boolean;
  reached(): void;
  /** Who looked found out nothing about the database. */
  undecided(): void;
  failed(failure: Failure): void;
  complain(problem: AppError | undefined): void;
  onChange(listener: (state: SharedState) => void): void;
};

const RETRY_MS = 500;
/** Who looks for longer has reached something: others may look as well. */
const LOOK_MS = 10_000;

export function createContact(now: () => number): Contact {
  let listener: (state: SharedState) => void = () => {};
  let current: SharedState = { state: 'unknown' };
  let failure: Failure | undefined;
  let lookAgainAt = 0;
  let connectedAt = 0;
  const change = (next: SharedState) => {
    const isNew = next.state !== current.state;
    current = next;
    if (isNew) listener(next);
  };
  return {
    state: () => current,
    connectedMs: () => (current.state === 'connected' ? performance.now() - connectedAt : 0),
    enter: () => {
      if (failure === undefined) return false;
      if (performance.now() < lookAgainAt) throw failure.error;
      lookAgainAt = performance.now() + LOOK_MS;
      return true;
    },
    undecided: () => {
      lookAgainAt = 0;
    },
    reached: () => {
      failure = undefined;
      if (current.state === 'connected') return;
      connectedAt = performance.now();
      change({ state: 'connected', since: now(), problem: null });
    },
    failed: (what) => {
      failure = what;
      lookAgainAt = performance.now() + RETRY_MS;
      const since = current.state === 'unreachable' ? current.since : now();
      const { code, message, hint } = what.error;
      change({ state: 'unreachable', since, code, words: message, hint: hint ?? null });
    },
    complain: (problem) => {
      if (current.state === 'connected') current = { ...current, problem: problem?.message ?? null };
    },
    onChange: (next) => {
      listener = next;
    },
  };
}
