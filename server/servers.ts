import { AppError } from '../core/errors.ts';
import type { Id } from '../core/ids.ts';
import { serverTopic } from './api/connections.ts';
import { findServerBelow, serverName } from './control/servers-below.ts';
import { appendEvent } from './db/events.ts';
import { inTransaction } from './db/open.ts';
import { findServerByName, getServer, type KnownServer, revokeChild } from './db/servers.ts';
import type { Site } from './site.ts';

/** A server of our links, by name or id. Throws `not_found`, `wrong_state` for one that is behind another. */
export async function findServer(site: Site, reference: string): Promise<KnownServer> {
  const found = (await findServerByName(site.db, reference)) ?? (await getServer(site.db, reference as Id));
  if (found) return found;
  const { id, name, via } = await findServerBelow(site.db, reference);
  if (via === id)
    throw new AppError('wrong_state', `server ${name} is not a child of this server`, {
      hint: 'do it at its parent: waystation server list',
    });
  const parent = await serverName(site.db, via);
  throw new AppError('wrong_state', `server ${name} is behind ${parent}, not a child of this server`, {
    hint: 'do it at its own parent: waystation server list names it',
  });
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
