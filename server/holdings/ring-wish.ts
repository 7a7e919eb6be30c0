import type { Knex } from 'knex';
import { z } from 'zod';
import type { Id } from '../../core/ids.ts';
import { saidByFile } from '../control/said-by-file.ts';
import { appendEvent } from '../db/events.ts';
import { markChanged } from '../db/outbox.ts';
import { setChildRing } from '../db/servers.ts';
import { deleteSetting, getSetting, listSettings, setSetting } from '../db/settings.ts';
import type { Site } from '../site.ts';

/** The ring that a file gives a child, and whose file that is. It also holds for a child that comes later. */
const Kept = z.object({ ring: z.number().int().nullable(), file: z.string(), owner: z.string() });
const PREFIX = 'ring.file:';

/** `file` null: the ring is for operators again, and stays as it is. */
export type RingWish = { readonly server: Id; readonly ring: number | null; readonly file: string | null };

/** Takes over which ring a file gives a server that is, or comes to be, a child of ours, in the caller's transaction. */
export async function putRingWish(
  site: Site,
  trx: Knex,
  { server, ring, file }: RingWish,
  { owner, actor }: { readonly owner: Id; readonly actor: string },
): Promise<void> {
  if (file === null) await deleteSetting(trx, PREFIX + server);
  else await setSetting(trx, PREFIX + server, JSON.stringify({ ring, file, owner }));
  await applyRingWish(trx, server);
  const event = { origin: site.self.id, at: site.now(), actor, kind: 'server.ring-managed', subject: server };
  await appendEvent(trx, { ...event, data: { ring, file, owner } });
  await markChanged(trx, 'server', site.self.id);
}

/** Gives a child the ring that a file says; nothing changes when none says one, or it is no child of ours. */
export async function applyRingWish(trx: Knex, childId: Id): Promise<void> {
  const kept = await readKept(trx, childId);
  if (kept !== undefined) await setChildRing(trx, childId, kept.ring);
}

/** Throws `not_permitted`, naming the file and its server, when the ring of this child is not for operators here to set. */
export async function refuseManagedRing(site: Pick<Site, 'db'>, childId: Id): Promise<void> {
  const kept = await readKept(site.db, childId);
  if (kept !== undefined) throw await saidByFile(site.db, 'the ring of this server', kept);
}

/** The rings that a file says, by child. */
export async function listRingWishes(db: Knex): Promise<Record<string, number | null>> {
  const rows = await listSettings(db, PREFIX);
  return Object.fromEntries(rows.map(({ key, value }) => [key.slice(PREFIX.length), Kept.parse(JSON.parse(value)).ring]));
}

async function readKept(db: Knex, childId: Id): Promise<z.infer<typeof Kept> | undefined> {
  const text = await getSetting(db, PREFIX + childId);
  return text === undefined ? undefined : Kept.parse(JSON.parse(text));
}
