import { AppError } from '../../core/errors.ts';
import { appendEvent } from '../db/events.ts';
import { inTransaction } from '../db/open.ts';
import type { KnownServer } from '../db/servers.ts';
import { getServer, setChildRing } from '../db/servers.ts';
import { findServer } from '../servers.ts';
import type { Site } from '../site.ts';
import { refuseManagedRing } from './ring-wish.ts';

/** Gives a child its ring, or none of its own (null: ours); it learns of it with its next run. Throws `not_found`, `usage` for who is no child, `not_permitted` when a file says it. */
export async function giveRing(
  site: Site,
  reference: string,
  { ring, actor }: { ring: number | null; actor: string },
): Promise<KnownServer> {
  const child = await findServer(site, reference);
  await refuseManagedRing(site, child.id);
  await inTransaction(site.db, async (trx) => {
    if (!(await setChildRing(trx, child.id, ring))) {
      throw new AppError('usage', `server ${child.name} is not a child of this server`, { hint: 'rings are given by the parent' });
    }
    const event = { origin: site.self.id, at: site.now(), actor, kind: 'server.ring-set', subject: child.id };
    await appendEvent(trx, { ...event, data: { name: child.name, ring } });
  });
  site.wake.notify('events');
  return (await getServer(site.db, child.id)) ?? child;
}
