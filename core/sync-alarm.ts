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
