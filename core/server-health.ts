import type { ServerState } from './server-state.ts';

/** How a server is, for who looks at hundreds: `problem` somebody must see to, `warning` may become one, `notice` is worth knowing. */
export const HEALTH_LEVELS = ['problem', 'warning', 'notice', 'unknown', 'ok'] as const;
export type HealthLevel = (typeof HEALTH_LEVELS)[number];

/** One thing that is so, in words; `since` epoch ms, where it has a beginning. */
export type Finding = { readonly level: HealthLevel; readonly words: string; readonly since: number | null };

/** What is known of one server. Times are epoch ms. */
export type HealthFacts = {
  readonly state: ServerState;
  /** Null: nobody can tell (a server behind another one). */
  readonly isConnected: boolean | null;
  readonly heardAt: number | null;
  /**
   * Of a server that only a shared database tells of: its last sign of life there, by the database's clock. `isAway`: that
   * database cannot be asked. Null for all others.
   */
  readonly beat: { readonly at: number | null; readonly ageMs: number; readonly isSilent: boolean; readonly isAway: boolean } | null;
  /** Why it cannot be reached, in words, when that is known. */
  readonly contactError: { readonly words: string; readonly since: number } | null;
  readonly alarms: readonly string[];
  /** It reported, and not in a form that is known here. */
  readonly isUnreadable: boolean;
  readonly run: {
    readonly state: string;
    readonly code: string | null;
    readonly error: string | null;
    readonly endedAt: number | null;
  } | null;
  readonly paused: { readonly by: string; readonly since: number; readonly where: string } | null;
  readonly images: { readonly wanted: number; readonly held: number; readonly failing: number; readonly firstError: string | null } | null;
  /** What else was found. */
  readonly others: readonly Finding[];
};

const ENDED: { readonly [State in Exclude<ServerState, 'active'>]: string } = {
  revoked: 'revoked: it may do nothing here any more',
  retired: 'retired: it has left the shared database',
  fenced: 'fenced: another server took its place, and what it writes does not count',
};
/** A link that breaks for minutes is an ordinary night. */
const SILENT_MS = 15 * 60_000;
/** A server behind another one reports every 5 minutes (server/control/status.ts). */
const LATE_REPORT_MS = 2 * SILENT_MS;
/** Ends of runs that somebody wanted. */
const WANTED_ENDS: readonly (string | null)[] = ['disabled', 'window_closed', 'cancelled'];

/** The worst level and all findings, the worst first. */
export function judgeServer(facts: HealthFacts, now: number): { readonly level: HealthLevel; readonly findings: readonly Finding[] } {
  if (facts.state !== 'active') return { level: 'notice', findings: [finding('notice', ENDED[facts.state])] };
  const found = [
    ...facts.alarms.map((words) => finding('problem', words)),
    ...judgeContact(facts, now),
    ...(facts.isUnreadable ? [finding('warning', 'what it reports cannot be read here: upgrade the older of the two servers')] : []),
    ...judgeRun(facts.run),
    ...judgeImages(facts),
    ...judgePause(facts.paused),
    ...facts.others,
  ];
  const findings = found.sort((one, other) => HEALTH_LEVELS.indexOf(one.level) - HEALTH_LEVELS.indexOf(other.level));
  return { level: findings[0]?.level ?? 'ok', findings };
}

function judgeContact({ isConnected, heardAt, contactError, beat }: HealthFacts, now: number): Finding[] {
  if (beat !== null) return judgeBeat(beat);
  if (isConnected) return [];
  if (contactError !== null) {
    const level = now - contactError.since > SILENT_MS ? 'problem' : 'warning';
    return [finding(level, contactError.words, contactError.since)];
  }
  if (heardAt === null) return [finding('unknown', 'has not been heard of yet')];
  const silentMs = now - heardAt;
  if (isConnected === null) return silentMs > LATE_REPORT_MS ? [finding('problem', 'has not reported', heardAt)] : [];
  return [finding(silentMs > SILENT_MS ? 'problem' : 'warning', 'is not connected', heardAt)];
}

function judgeBeat({ at, ageMs, isSilent, isAway }: NonNullable<HealthFacts['beat']>): Finding[] {
  if (isAway) return [finding('unknown', 'nobody can tell while the shared database is unreachable', at)];
  if (at === null) return [finding('unknown', 'has not been heard of yet')];
  return isSilent ? [finding(ageMs > SILENT_MS ? 'problem' : 'warning', 'is silent in the shared database', at)] : [];
}

/** What is wrong with the last run, or the one under way; nothing while it is done, or goes on. */
export function judgeRun(run: HealthFacts['run']): Finding[] {
  if (run === null || run.error === null || run.state === 'done') return [];
  const words = run.error;
  if (run.state === 'failed') return [finding('problem', `the last run failed: ${words}`, run.endedAt)];
  if (run.state === 'partial') {
    return [
      finding(WANTED_ENDS.includes(run.code) ? 'notice' : 'warning', `the last run ended before it was complete: ${words}`, run.endedAt),
    ];
  }
  return [finding('warning', `the run waits: ${words}`)];
}

function judgeImages({ images, run }: HealthFacts): Finding[] {
  if (images === null) return [];
  const found: Finding[] = [];
  if (images.failing > 0) {
    const count = images.failing === 1 ? 'an image has a problem' : `${images.failing} images have problems`;
    found.push(finding('warning', images.firstError === null ? count : `${count}: ${images.firstError}`));
  }
  const isRunning = run !== null && run.endedAt === null;
  if (images.held < images.wanted && !isRunning) {
    found.push(finding('notice', `holds ${images.held} of the ${images.wanted} images that it wants`));
  }
  return found;
}

function judgePause(paused: HealthFacts['paused']): Finding[] {
  return paused === null ? [] : [finding('notice', `paused ${paused.where} by ${paused.by}`, paused.since)];
}

function finding(level: HealthLevel, words: string, since: number | null = null): Finding {
  return { level, words, since };
}
