import type { Knex } from 'knex';
import { z } from 'zod';
import type { Id } from '../../core/ids.ts';
import { checkCaps } from '../../core/schedule/caps.ts';
import { checkWindows } from '../../core/schedule/windows.ts';
import { type LINK_FIELDS, LinkWish } from '../../core/site-tree.ts';
import { appendEvent } from '../db/events.ts';
import { type Link, listLinks } from '../db/links.ts';
import { markChanged } from '../db/outbox.ts';
import { deleteSetting, getSetting, setSetting } from '../db/settings.ts';
import { openCron, zoneOf } from '../schedule/cron.ts';
import { setCaps, setSchedule } from '../schedule.ts';
import type { Site } from '../site.ts';
import { saidByFile } from './said-by-file.ts';

/** What a file says of our link, and whose file that is. It also holds for a link that comes later. */
const Kept = z.object({ wish: LinkWish, file: z.string(), owner: z.string() });
type Kept = z.infer<typeof Kept>;
type Field = (typeof LINK_FIELDS)[number];

const KEY = 'link.wish';

/**
 * Takes over what a file says of our link, or (an empty wish) gives all of it back, in the caller's transaction.
 * Errors: `usage` for a schedule, zone, window or cap that is none.
 */
export async function putLinkWish(
  site: Site,
  trx: Knex,
  { wish, file }: { readonly wish: LinkWish; readonly file: string },
  { owner, actor }: { readonly owner: Id; readonly actor: string },
): Promise<void> {
  checkWish(wish);
  if (Object.keys(wish).length === 0) await deleteSetting(trx, KEY);
  else await setSetting(trx, KEY, JSON.stringify({ wish, file, owner } satisfies Kept));
  const [link] = await listLinks(trx);
  if (link !== undefined) await applyLinkWish(site, trx, link);
  const event = { origin: site.self.id, at: site.now(), actor, kind: 'link.managed', subject: site.self.id };
  await appendEvent(trx, { ...event, data: { file, owner, ...wish } });
  await markChanged(trx, 'server', site.self.id);
}

/** Brings a link to what a file says of it, in the caller's transaction; without one nothing changes. */
export async function applyLinkWish(site: Site, trx: Knex, link: Link): Promise<void> {
  const wish = (await readKept(trx))?.wish;
  if (wish === undefined) return;
  const here: Site = { ...site, db: trx };
  const { schedule = link.schedule, capMbit, ...times } = wish;
  if (wish.schedule !== undefined || Object.keys(times).length > 0) await setSchedule(here, link, { schedule, ...times });
  if (capMbit !== undefined) await setCaps(here, link, { ...link.caps, bps: capMbit === null ? null : Math.round(capMbit * 1_000_000) });
}

/** Throws `not_permitted`, naming the file and its server, when one of these is not for operators here to set. */
export async function refuseManaged(site: Pick<Site, 'db'>, fields: readonly Field[]): Promise<void> {
  const kept = await readKept(site.db);
  const field = fields.find((one) => kept?.wish[one] !== undefined);
  if (kept === undefined || field === undefined) return;
  throw await saidByFile(site.db, `${field} of this link`, kept);
}

/** Which fields of our link are what a file says. */
export async function listManaged(db: Knex): Promise<string[]> {
  return Object.keys((await readKept(db))?.wish ?? {});
}

async function readKept(db: Knex): Promise<Kept | undefined> {
  const text = await getSetting(db, KEY);
  return text === undefined ? undefined : Kept.parse(JSON.parse(text));
}

/** Throws `usage` for what could not be set, whatever the link is by then. */
export function checkWish({ schedule, timezone = 'UTC', mayStart = null, mustStop = null, capMbit }: LinkWish): void {
  zoneOf(timezone);
  checkWindows({ mayStart, mustStop });
  if (typeof schedule === 'string') openCron({ schedule, timezone });
  if (typeof capMbit === 'number') checkCaps({ bps: Math.round(capMbit * 1_000_000), office: null });
}
