import type { Knex } from 'knex';
import type { Id } from '../../core/ids.ts';
import { appendEvent } from '../db/events.ts';
import { removeLink } from '../db/links.ts';
import { inTransaction } from '../db/open.ts';
import { endRuns } from '../db/runs.ts';
import { getServer, removeParent } from '../db/servers.ts';
import { keepFormerParent } from '../db/trusted-servers.ts';
import type { Site } from '../site.ts';

/** Ends the links to these parents; what was replicated stays, and their objects are believed as before. */
export async function leaveParents(site: Site, parents: readonly Id[]): Promise<void> {
  if (parents.length === 0) return;
  await inTransaction(site.db, async (trx) => {
    for (const id of parents) {
      await forgetParent(site, trx, id);
      const link = await removeLink(trx, id);
      const error = { code: 'disabled', message: 'this server has no parent any more' } as const;
      if (link !== undefined) await endRuns(trx, link, { at: site.now(), error });
    }
  });
  await dropCredentials(site, parents);
}

/** Takes a parent's row away, in the caller's transaction; its pin stays, and with it the trust in what it made. */
export async function forgetParent(site: Site, trx: Knex.Transaction, id: Id): Promise<void> {
  const parent = await getServer(trx, id);
  if (parent === undefined || !(await removeParent(trx, id))) return;
  if (parent.caPin !== null)
    await keepFormerParent(trx, { id, name: parent.name, caPin: parent.caPin }, { voucher: id, origin: site.self.id, now: site.now() });
  const data = { name: parent.name };
  await appendEvent(trx, { origin: site.self.id, at: site.now(), actor: 'system', kind: 'server.parent-left', subject: id, data });
}

/** After the transaction that took the rows away. */
export async function dropCredentials(site: Site, parents: readonly Id[]): Promise<void> {
  for (const id of parents) await site.keys.dropParentCredentials(id);
  for (const topic of ['parents', 'links', 'run-requests', 'events']) site.wake.notify(topic);
}
