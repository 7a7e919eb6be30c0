import { z } from 'zod';
import { listLinks } from '../../db/links.ts';
import { listSyncAlarms } from '../../db/sync-alarms.ts';
import { alarmWords } from '../../holdings/alarms.ts';
import { listChildHoldings } from '../../holdings/children.ts';
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
    // With ?children=false the answer is as long as this site's own images, however many children there are.
    input: z.object({ children: z.enum(['true', 'false']).default('true') }),
    handle: async ({ site }, { children }) => ({
      items: await listHoldings(site, { isMeasured: true }),
      next: null,
      alarm: await ownAlarm(site),
      ...(children === 'true' ? { children: await listChildHoldings(site) } : {}),
    }),
  }),
];

async function ownAlarm(site: Site): Promise<{ since: string; words: string } | null> {
  const raised = (await listSyncAlarms(site.db)).get(site.self.id);
  const [link] = await listLinks(site.db);
  if (raised === undefined || link === undefined) return null;
  return { since: new Date(raised).toISOString(), words: alarmWords({ name: site.self.name, syncedAt: link.lastRunAt }) };
}
