import type { Duplex } from 'node:stream';
import { AppError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import { onceClosed } from '../../sync/tunnel/once-closed.ts';
import { getServer } from '../db/servers.ts';
import { TUNNEL_PROTOCOL } from '../replication/parent-client.ts';
import type { Site } from '../site.ts';
import { pinnedJson, pinnedUpgrade } from '../trust/pinned-request.ts';
import { type PinnedAgent, pinnedAgent } from '../trust/pinned-tls.ts';

/** Our kept connections to a parent, for reports and pulls. */
export type ParentChannel = {
  post(path: string, body: unknown, signal: AbortSignal): Promise<unknown>;
  get(path: string, query: Readonly<Record<string, string>>, signal: AbortSignal): Promise<unknown>;
  /** A connection that carries rsync's daemon protocol in tunnel frames; the caller owns the socket, and `close` ends it too. Throws `cancelled` after `close`. */
  upgrade(path: string, query: Readonly<Record<string, string>>): Promise<{ readonly socket: Duplex; readonly head: Buffer }>;
  close(): void;
};

/** A long poll is silent for 25 s; twice that is a dead link. */
const TIMEOUT_MS = 50_000;

/**
 * Prepares to talk to a parent; nothing is sent yet. After a failure the next call opens a new connection, with the certificate
 * and address that are in force then. Every call throws `config` when we were never enrolled there.
 */
export function openChannel(site: Site, parentId: Id): ParentChannel {
  let opened: Opened | undefined;
  // An agent lets go of a connection that was upgraded.
  const upgraded = new Set<Duplex>();
  let isClosed = false;
  const refuseClosed = () => {
    if (isClosed) throw new AppError('cancelled', 'the connections to the parent are closed');
  };
  const ask = async (path: string, request: { json?: unknown; signal: AbortSignal }): Promise<unknown> => {
    opened ??= await openAgent(site, parentId);
    const used = opened;
    try {
      return await pinnedJson(used.agent, { url: `${used.url}/api/v1/control/${path}`, timeoutMs: TIMEOUT_MS, ...request });
    } catch (error) {
      used.agent.destroy();
      if (opened === used) opened = undefined;
      throw error;
    }
  };
  return {
    post: (path, json, signal) => ask(path, { json, signal }),
    get: (path, query, signal) => ask(`${path}?${new URLSearchParams(query)}`, { signal }),
    upgrade: async (path, query) => {
      refuseClosed();
      opened ??= await openAgent(site, parentId);
      const url = `${opened.url}/api/v1/control/${path}?${new URLSearchParams(query)}`;
      const switched = await pinnedUpgrade(opened.agent, { url, protocol: TUNNEL_PROTOCOL, timeoutMs: TIMEOUT_MS });
      upgraded.add(switched.socket);
      onceClosed(switched.socket, () => upgraded.delete(switched.socket));
      if (isClosed) switched.socket.destroy();
      refuseClosed();
      return switched;
    },
    close: () => {
      isClosed = true;
      opened?.agent.destroy();
      for (const socket of upgraded) socket.destroy();
    },
  };
}

type Opened = { readonly agent: PinnedAgent; readonly url: string };

async function openAgent(site: Site, parentId: Id): Promise<Opened> {
  const parent = await getServer(site.db, parentId);
  const credentials = site.keys.parentCredentials(parentId);
  if (!credentials || !parent?.url || !parent.caPin) {
    throw new AppError('config', `this server holds no certificate for its parent ${parent?.name ?? parentId}`, {
      hint: 'enrol again: waystation server token at the parent, waystation server join URL here',
    });
  }
  const agent = pinnedAgent({ pin: parent.caPin, cert: credentials.certPem, key: credentials.keyPem, now: site.now });
  return { agent, url: parent.url };
}
