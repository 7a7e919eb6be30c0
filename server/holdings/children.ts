import type { Id } from '../../core/ids.ts';
import { isoTime } from '../../core/iso-time.ts';
import { readServerReports } from '../db/reported.ts';
import { listServers } from '../db/servers.ts';
import { listSyncAlarms } from '../db/sync-alarms.ts';
import type { Site } from '../site.ts';
import { alarmWords } from './alarms.ts';

/** How the children of this site stand, by what each told last. */
export async function listChildHoldings(site: Pick<Site, 'db'>) {
  const alarms = await listSyncAlarms(site.db);
  const active = (await listServers(site.db)).filter(({ relation, state }) => relation === 'child' && state === 'active');
  const children = active.filter(({ isContentOnly }) => !isContentOnly);
  const told = await readImages(
    site,
    children.map(({ id }) => id),
  );
  return children.map(({ id, name, ring, syncedAt, seenAt }) => {
    const raised = alarms.get(id);
    const report = told.get(id);
    return {
      ...{ server: name, id, ring: ring ?? null, syncedAt: isoTime(syncedAt ?? null), seenAt: isoTime(seenAt) },
      alarm: raised === undefined ? null : { since: isoTime(raised), words: alarmWords({ name, syncedAt: syncedAt ?? null }) },
      reportedAt: report === undefined ? null : isoTime(report.at),
      images: report?.images ?? null,
    };
  });
}

type Told = { readonly at: number; readonly images: unknown };

/** A report is a document of another server: it is shown, not believed to have a shape. */
async function readImages({ db }: Pick<Site, 'db'>, ids: readonly Id[]): Promise<Map<Id, Told>> {
  const told = new Map<Id, Told>();
  for await (const { origin, at, body } of readServerReports(db, ids))
    told.set(origin, { at, images: (body as { images?: unknown } | null)?.images ?? null });
  return told;
}
