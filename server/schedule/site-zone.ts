import type { Zone } from '../../core/schedule/zone.ts';
import { listLinks } from '../db/links.ts';
import type { Site } from '../site.ts';
import { zoneOf } from './cron.ts';

/** The clock on this site's wall: that of its link; without a parent `maintenanceTimezone`. Throws `usage` for a name that is none. */
export async function siteZone({ db, config }: Pick<Site, 'db' | 'config'>): Promise<Zone> {
  const [link] = await listLinks(db);
  return zoneOf(link?.timezone ?? config.maintenanceTimezone);
}
