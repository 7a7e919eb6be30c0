/** What is known of one site's replication. Times are epoch ms. */
export type SyncFacts = {
  /** When it last held all that its parent had told it. */
  readonly syncedAt: number | null;
  /** Since when it is to be in sync: it was enrolled then. */
  readonly since: number;
  readonly isRaised: boolean;
};

/** `raise` and `clear` are each said once an outage; `afterMs` 0 raises none. A clock that went back raises none either. */
export function judgeSync(
  { syncedAt, since, isRaised }: SyncFacts,
  { now, afterMs }: { now: number; afterMs: number },
): 'raise' | 'clear' | 'stay' {
  const isLate = afterMs > 0 && now - (syncedAt ?? since) > afterMs;
  if (isLate === isRaised) return 'stay';
  return isLate ? 'raise' : 'clear';
}

/** What a child told of its last run, by its own clock, and when that came, by ours. */
export type ToldSync = { readonly reportedAt: number; readonly saidAt: number; readonly lastRunAt: number };

/**
 * When a child was last in sync, by our clock: as its requests showed, or as it reports, whichever is later. Its own clock may show
 * any time: what counts is how long before its report the run had ended.
 */
export function lastSynced(shown: number | null, told: ToldSync | null): number | null {
  // A clock that went back since the run knows nothing of how long ago it was.
  if (told === null || told.lastRunAt > told.saidAt) return shown;
  const reported = told.reportedAt - (told.saidAt - told.lastRunAt);
  return shown === null ? reported : Math.max(shown, reported);
}
