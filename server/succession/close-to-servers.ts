import { serverTopic } from '../api/connections.ts';
import { listServers } from '../db/servers.ts';
import type { Site } from '../site.ts';

/** Ends the connections of all servers below us, and tells those who watch that something happened. */
export async function closeToServers(site: Site): Promise<void> {
  for (const { id } of await listServers(site.db)) site.wake.notify(serverTopic(id));
  site.wake.notify('events');
}
