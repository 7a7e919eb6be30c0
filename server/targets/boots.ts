import { type Id, newId } from '../../core/ids.ts';
import { type Boot, findBoot, insertBoot } from '../db/boots.ts';
import type { Site } from '../site.ts';

/** Writes down that a boot script is given out. The id is public: it names the boot, it proves nothing. */
export async function createBoot(site: Pick<Site, 'db' | 'now'>, targetId: Id, what: Boot['what']): Promise<Id> {
  const id = newId(site.now());
  await insertBoot(site.db, { id, targetId, what, createdAt: site.now() });
  return id;
}

/** The boot with this id, or undefined: an agent may say anything. */
export async function getBoot(site: Pick<Site, 'db'>, bootId: string): Promise<Boot | undefined> {
  return findBoot(site.db, bootId);
}
