import { SILENT_MS } from '../shared/heartbeat.ts';
import type { Registry } from '../shared/last-registry.ts';

/** Without a shared database a server shows itself with its reports, at least every five minutes. */
const SILENT_BY_LINK_MS = 660_000;

/** When a server was heard last (ISO 8601, seconds), and whether that is too long ago. */
export type Heartbeat = {
  readonly heartbeatAt: string | null;
  readonly heartbeatAgeSeconds: number | null;
  /** Not heard for a minute by the shared database, or for eleven by reports. */
  readonly silent: boolean;
};

type Heard = {
  readonly isSelf: boolean;
  /** By our own clock, epoch ms: what came by links. */
  readonly heardAt: number | null;
  readonly now: number;
};

/** What the shared database says goes first; who beats nowhere there is heard by links alone. */
export function heartbeatOf(id: string, { isSelf, heardAt, now }: Heard, registry: Registry | undefined): Heartbeat {
  const beatAt = registry?.servers.get(id)?.heartbeatAt;
  // Nobody falls silent because the database is away: what it said last stays.
  if (registry && beatAt != null) return { ...age(beatAt, registry.now - beatAt), silent: registry.readAt - beatAt > SILENT_MS };
  if (isSelf) return { ...age(now, 0), silent: false };
  if (heardAt === null) return { heartbeatAt: null, heartbeatAgeSeconds: null, silent: false };
  return { ...age(heardAt, now - heardAt), silent: now - heardAt > SILENT_BY_LINK_MS };
}

function age(at: number, ageMs: number): Omit<Heartbeat, 'silent'> {
  return { heartbeatAt: new Date(at).toISOString(), heartbeatAgeSeconds: Math.round(Math.max(0, ageMs) / 1000) };
}
