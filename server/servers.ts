import { AppError } from '../core/errors.ts';
import { type Id, printable } from '../core/ids.ts';
import { serverTopic } from './api/connections.ts';
import { appendEvent } from './db/events.ts';
import { inTransaction } from './db/open.ts';
import { findServerByName, getServer, type KnownServer, revokeChild } from './db/servers.ts';
import type { Site } from './site.ts';

/** A server by name or id. Throws `not_found`. */
export async function findServer(site: Site, reference: string): Promise<KnownServer> {
  const found = (await findServerByName(site.db, reference)) ?? (await getServer(site.db, reference as Id));
  if (found) return found;
  throw new AppError('not_found', `no server "${printable(reference)}" is known here`, { hint: 'waystation server list' });
}

/**
 * Takes a child's rights away at once: its next request is refused and its open connections are closed. Repeating it is
 * harmless. Throws `not_found`, `wrong_state` (not a child).
 */
export async function revokeServer(site: Site, reference: string, actor: string): Promise<KnownServer> {
  const server = await findServer(site, reference);
  if (server.relation !== 'child') {
    throw new AppError('wrong_state', `${server.name} is ${server.relation === 'self' ? 'this server' : 'our parent'}, not a child`, {
      hint: 'only servers that enrolled here can be revoked here',
    });
  }
  await inTransaction(site.db, async (trx) => {
    if (!(await revokeChild(trx, server.id))) return;
    const event = { kind: 'server.revoked', subject: server.id, data: { name: server.name } };
    await appendEvent(trx, { origin: site.self.id, at: site.now(), actor, ...event });
  });
  site.wake.notify(serverTopic(server.id));
  return { ...server, state: 'revoked' };
}
