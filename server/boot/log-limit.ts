import type { Logger } from 'winston';

/** Says something about a packet, but not for every packet. */
export type LogLimit = (what: string, facts: Readonly<Record<string, unknown>>) => void;

const STEP_MS = 10_000;

/** At most one line per kind of complaint in 10 s, with the number of those that were not written. */
export function logLimit(log: Pick<Logger, 'warn'>, room: string, clock: () => number = () => performance.now()): LogLimit {
  const kinds = new Map<string, { sinceMs: number; unwritten: number }>();
  return (what, facts) => {
    const kind = kinds.get(what);
    const nowMs = clock();
    if (kind !== undefined && nowMs - kind.sinceMs < STEP_MS) {
      kind.unwritten += 1;
      return;
    }
    log.warn(`${room}: ${what}`, kind === undefined ? facts : { ...facts, unwritten: kind.unwritten });
    kinds.set(what, { sinceMs: nowMs, unwritten: 0 });
  };
}
