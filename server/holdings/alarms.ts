import type { Id } from '../../core/ids.ts';
import { isoTime } from '../../core/iso-time.ts';
import { judgeSync, lastSynced } from '../../core/sync-alarm.ts';
import { statusesOf } from '../control/servers-below.ts';
import { appendEvent } from '../db/events.ts';
import { listLinks } from '../db/links.ts';
import { inTransaction } from '../db/open.ts';
import { getServer, listServers } from '../db/servers.ts';
import { clearSyncAlarm, listSyncAlarms, raiseSyncAlarm } from '../db/sync-alarms.ts';
import { repeatEvery } from '../every.ts';
import type { Site } from '../site.ts';
import { toldSync } from './told-sync.ts';

const CHECK_EVERY_MS = 60_000;

type AlarmSite = Pick<Site, 'db' | 'self' | 'now' | 'config' | 'wake'>;

/** A site that is to be in sync: ourselves with our parent, or a child with us. */
type Watched = { readonly id: Id; readonly name: string; readonly syncedAt: number | null; readonly since: number };

/**
 * Says once when a site has not synced for `alarmAfterHours` (`site.not-synced`), and once when it has again
 * (`site.synced-again`): each server of itself, and as a parent of its children.
 */
export async function checkAlarms(site: AlarmSite): Promise<void> {
  const raised = await listSyncAlarms(site.db);
  const limits = { now: site.now(), afterMs: site.config.alarmAfterHours * 3_600_000 };
  const isDoubtful = (one: Watched) => raised.has(one.id) || judgeSync({ ...one, isRaised: false }, limits) === 'raise';
  const watched = await askReports(site, await listWatched(site), isDoubtful);
  for (const one of watched) {
    const verdict = judgeSync({ ...one, isRaised: raised.has(one.id) }, limits);
    if (verdict !== 'stay') await tell(site, one, verdict);
  }
  // Who was revoked, or is our child no longer, is nobody's outage.
  for (const id of raised.keys()) if (!watched.some((one) => one.id === id)) await clearSyncAlarm(site.db, id);
}

async function listWatched(site: AlarmSite): Promise<Watched[]> {
  const [link] = await listLinks(site.db);
  const parent = link === undefined ? undefined : await getServer(site.db, link.parentId);
  const children = (await listServers(site.db)).filter(({ relation, state }) => relation === 'child' && state === 'active');
  const below = children.filter(({ isContentOnly }) => !isContentOnly);
  return [
    ...(link === undefined || parent === undefined
      ? []
      : [{ id: site.self.id, name: site.self.name, syncedAt: link.lastRunAt, since: parent.createdAt }]),
    ...below.map(({ id, name, syncedAt, createdAt }) => ({ id, name, syncedAt: syncedAt ?? null, since: createdAt })),
  ];
}

/** A child that seems late may have told of a run since its last request; reports are documents, so only these are read. */
async function askReports(site: AlarmSite, watched: readonly Watched[], isDoubtful: (one: Watched) => boolean): Promise<Watched[]> {
  const doubtful = watched.filter((one) => one.id !== site.self.id && isDoubtful(one)).map(({ id }) => id);
  const told = await statusesOf(site.db, doubtful);
  return watched.map((one) => ({ ...one, syncedAt: lastSynced(one.syncedAt, toldSync(told.get(one.id), site.self.id)) }));
}

async function tell(site: AlarmSite, one: Watched, verdict: 'raise' | 'clear'): Promise<void> {
  const at = site.now();
  await inTransaction(site.db, async (trx) => {
    const isNew = verdict === 'raise' ? await raiseSyncAlarm(trx, one.id, at) : await clearSyncAlarm(trx, one.id);
    if (!isNew) return;
    const kind = verdict === 'raise' ? 'site.not-synced' : 'site.synced-again';
    const data = { name: one.name, syncedAt: isoTime(one.syncedAt), words: alarmWords(one) };
    await appendEvent(trx, { origin: site.self.id, at, actor: 'system', kind, subject: one.id, data });
  });
  site.wake.notify('events');
}

/** The alarm of this site itself, in words; empty when it is in sync. */
export async function listAlarmWords(site: Pick<Site, 'db' | 'self'>): Promise<string[]> {
  const [link] = await listLinks(site.db);
  const isRaised = link !== undefined && (await listSyncAlarms(site.db)).has(site.self.id);
  return isRaised ? [alarmWords({ name: site.self.name, syncedAt: link.lastRunAt })] : [];
}

/** What is wrong, for people. */
export function alarmWords({ name, syncedAt }: Pick<Watched, 'name' | 'syncedAt'>): string {
  return syncedAt === null ? `${name} has never synced` : `${name} has not synced since ${isoTime(syncedAt)}`;
}

/** Checks while the server runs; returns how to stop. */
export function startAlarms(site: AlarmSite & Pick<Site, 'log'>, everyMs = CHECK_EVERY_MS): () => Promise<void> {
  return repeatEvery(
    everyMs,
    () => checkAlarms(site),
    (error) => site.log.error('the check for sites that do not sync failed; it runs again', { error: String(error) }),
  );
}
