import type { Socket } from 'node:net';
import type { Id } from '../../core/ids.ts';
import { onceClosed } from '../../sync/tunnel/once-closed.ts';
import { getServer, touchServer } from '../db/servers.ts';
import { noteConnection } from '../panel/contact.ts';
import type { Site } from '../site.ts';
import { readFence } from '../succession/fence.ts';

/** How often the row is looked at although nobody called: another process may have revoked the server. */
const RECHECK_MS = 30_000;

/** The topic that `server revoke` notifies. */
export function serverTopic(serverId: Id): string {
  return `server:${serverId}`;
}

/**
 * Closes the connections of servers that are revoked while they are connected, tunnels included: give it every
 * socket on which a server was identified. Watching the same socket again is harmless.
 */
export function watchConnections(site: Site): (serverId: Id, socket: Socket) => void {
  const watched = new WeakSet<Socket>();
  return (serverId, socket) => {
    if (watched.has(socket)) return;
    watched.add(socket);
    const gone = noteConnection(site, serverId);
    onceClosed(socket, gone);
    void closeWhenRevoked(site, serverId, socket);
  };
}

async function closeWhenRevoked(site: Site, serverId: Id, socket: Socket): Promise<void> {
  const gone = new AbortController();
  onceClosed(socket, () => gone.abort());
  try {
    await touchServer(site.db, serverId, site.now());
    while (!socket.destroyed) {
      // Sleep first, look then: a revocation between the look and the sleep would be missed.
      const woken = site.wake.wait(serverTopic(serverId), RECHECK_MS, gone.signal);
      if ((await getServer(site.db, serverId))?.state !== 'active') {
        site.log.info('connection of a revoked server closed', { server: serverId });
        socket.destroy();
      } else if ((await readFence(site.db)) !== undefined) {
        site.log.info('connection of a server closed: this one is fenced', { server: serverId });
        socket.destroy();
      }
      await woken;
    }
  } catch (error) {
    // Without the database nobody can say that the server is still welcome.
    site.log.error('connection closed: its server could not be looked up', { server: serverId, error: String(error) });
    socket.destroy();
  }
}
