import { listLinks } from '../../db/links.ts';
import { getReported } from '../../db/reported.ts';
import { listServers } from '../../db/servers.ts';
import { listSyncAlarms } from '../../db/sync-alarms.ts';
import { alarmWords } from '../../holdings/alarms.ts';
import { listHoldings } from '../../holdings/list.ts';
import type { Site } from '../../site.ts';
import { type Route, route } from '../route.ts';

/** What each site holds: here measured, of the children as they told. */
export const HOLDING_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/holdings',
    listener: 'api',
    action: 'image.read',
    summary: 'Image by image what this site wants, holds and lacks; and how its children stand.',
    handle: async ({ site }) => ({
      items: await listHoldings(site, { isMeasured: true }),
      next: null,
      alarm: await ownAlarm(site),
      children: await listChildren(site),
    }),
  }),
];

async function ownAlarm(site: Site): Promise<{ since: string; words: string } | null> {
  const raised = (await listSyncAlarms(site.db)).get(site.self.id);
  const [link] = await listLinks(site.db);
  if (raised === undefined || link === undefined) return null;
  return { since: new Date(raised).toISOString(), words: alarmWords({ name: site.self.name, syncedAt: link.lastRunAt }) };
}

async function listChildren(site: Site) {
  const alarms = await listSyncAlarms(site.db);
  const active = (await listServers(site.db)).filter(({ relation, state }) => relation === 'child' && state === 'active');
  const children = active.filter(({ isContentOnly }) => !isContentOnly);
  return Promise.all(
    children.map(async (child) => {
      const raised = alarms.get(child.id);
      const report = await getReported(site.db, { origin: child.id, kind: 'server', subject: child.id });
      return {
        server: child.name,
        id: child.id,
        ring: child.ring ?? null,
        syncedAt: isoTime(child.syncedAt ?? null),
        seenAt: isoTime(child.seenAt),
        alarm:
          raised === undefined
            ? null
            : { since: isoTime(raised), words: alarmWords({ name: child.name, syncedAt: child.syncedAt ?? null }) },
        reportedAt: report === undefined ? null : isoTime(report.at),
        images: imagesOf(report?.body),
      };
    }),
  );
}

/** A report is a document of another server: it is shown, not believed to have a shape. */
function imagesOf(body: unknown): unknown {
  return (body as { images?: unknown } | null | undefined)?.images ?? null;
}

function isoTime(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
