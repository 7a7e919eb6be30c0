import { type Id, newId } from '../../core/ids.ts';
import { type Boot, deleteBootsBefore, findBoot, findUnusedBoot, insertBoot } from '../db/boots.ts';
import type { Site } from '../site.ts';

/** Anybody can ask for boot scripts: the same one asked for again within this time gets the same id, not another row. */
const SAME_BOOT_MS = 5_000;
/** A boot id introduces nobody after a day (server/orders/bind-agent.ts); its row may go then. */
const FORGET_AFTER_MS = 48 * 3_600_000;

/** Writes down that a boot script is given out. The id is public: it names the boot, it proves nothing. */
export async function createBoot(site: Pick<Site, 'db' | 'now'>, targetId: Id, what: Boot['what']): Promise<Id> {
  const last = await findUnusedBoot(site.db, targetId);
  const age = last === undefined ? Number.POSITIVE_INFINITY : site.now() - last.createdAt;
  if (last?.what === what && age >= 0 && age < SAME_BOOT_MS) return last.id;
  await deleteBootsBefore(site.db, targetId, site.now() - FORGET_AFTER_MS);
  const id = newId(site.now());
  await insertBoot(site.db, { id, targetId, what, createdAt: site.now() });
  return id;
}

/** The boot with this id, or undefined: an agent may say anything. */
export async function getBoot(site: Pick<Site, 'db'>, bootId: string): Promise<Boot | undefined> {
  return findBoot(site.db, bootId);
}
