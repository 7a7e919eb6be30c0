import { type Id, isId, isName } from '../../core/ids.ts';
import { SignerRecord } from '../../core/sync-protocol.ts';
import { appendEvent } from '../db/events.ts';
import { inTransaction } from '../db/open.ts';
import { countPeers, getPeer, listPeers, putPeer, type SeenPeer, setPeerState } from '../db/peers.ts';
import { listSharedServersOf, listSharedTree, MOST_SERVERS, registryNumber, type SharedServer } from '../db/shared/servers.ts';
import type { Site } from '../site.ts';
import { verifySigner } from '../trust/signatures.ts';
import type { Shared } from './open.ts';
import { ASK_AGAIN_MS } from './tell.ts';

const WHAT = 'looking who meets in the database';

/** A row of the registry, without how its server is. */
export type Registered = Omit<SharedServer, 'report'>;

/** What of each server's row was seen by this process (a registration is no new revision), and who was turned away. */
export type Seen = {
  readonly rows: Map<string, string>;
  readonly refused: Set<string>;
  /** The number of the newest change that was seen; undefined: none. */
  number: number | undefined;
  /** When all rows were looked at last (monotonic ms). */
  wholeAt: number;
  /** This server's own row. */
  own: Registered | undefined;
  /** Rows that changed and that nobody has answered yet: whoever answers them takes them out. */
  readonly unanswered: Map<string, Registered>;
};

export function nothingSeen(): Seen {
  return { rows: new Map(), refused: new Set(), number: undefined, wholeAt: 0, own: undefined, unanswered: new Map() };
}

/**
 * Keeps our copy of the registry (`peers`) and returns the rows that changed since the last look, ours included. A server's pin
 * is the one it was first seen with: a row that shows another is not believed. Servers that are gone count as retired.
 *
 * When nothing changed that costs one row, whoever meets there. A database that lost its end may give a number again: so all rows
 * are looked at every `ASK_AGAIN_MS` anyway.
 */
export async function followRegistry(site: Site, shared: Shared, seen: Seen): Promise<Registered[]> {
  // Before the rows: what changes in between is looked at once more.
  const number = await shared.read(WHAT, registryNumber);
  const isFresh = performance.now() - seen.wholeAt < ASK_AGAIN_MS;
  if (number === seen.number && isFresh) return [];
  const wholeAt = performance.now();
  const changed = await readChanged(site, shared, seen);
  Object.assign(seen, { number, wholeAt });
  return changed;
}

async function readChanged(site: Site, shared: Shared, seen: Seen): Promise<Registered[]> {
  const tree = await shared.read(WHAT, listSharedTree);
  const rowOf = ({ revision, name, state, url, caPin }: (typeof tree)[number]) => JSON.stringify([revision, name, state, url, caPin]);
  const stale = new Map(tree.filter((server) => seen.rows.get(server.id) !== rowOf(server)).map((server) => [server.id, rowOf(server)]));
  const changed: Registered[] = [];
  for (const server of await shared.read(WHAT, (db) => listSharedServersOf(db, [...stale.keys()]))) {
    if (server.id === site.self.id) seen.own = server;
    if (server.id === site.self.id || (await keep(site, seen, server))) {
      changed.push(server);
      seen.unanswered.set(server.id, server);
    }
    // What was read now may be newer still: then it is read once more.
    seen.rows.set(server.id, stale.get(server.id) as string);
  }
  const there = new Set(tree.map(({ id }) => id));
  // Who registers again is looked at again, also when its row says the same as before.
  for (const id of seen.rows.keys()) if (!there.has(id as Id)) seen.rows.delete(id);
  for (const { id, state } of await listPeers(site.db))
    if (!there.has(id) && state !== 'retired') await setPeerState(site.db, id, 'retired');
  return changed;
}

/** False for a row that is not to be believed. */
async function keep(site: Site, seen: Seen, server: Registered): Promise<boolean> {
  const peer = readPeer(server);
  if (peer !== undefined && (await store(site, peer))) return true;
  if (!seen.refused.has(server.id)) {
    seen.refused.add(server.id);
    site.log.warn('a server in the shared database is not believed', { server: server.id, name: server.name, caPin: server.caPin });
  }
  return false;
}

/** What a row says, when its signing key is vouched for by the CA that it shows. */
function readPeer(server: Registered): SeenPeer | undefined {
  const signer = SignerRecord.safeParse(server.signer).data;
  if (!isId(server.id) || signer?.serverId !== server.id || !(isName(server.name) || server.name === server.id)) return undefined;
  try {
    verifySigner(signer, server.caPin);
  } catch {
    return undefined;
  }
  const { id, name, state, caPin, parentId, parentRevision, parentBy, revision } = server;
  return { id, name, state, url: addressOf(server), caPin, signer, parentId, parentRevision, parentBy, revision };
}

/** The base URL of its API; null for what is none. */
function addressOf({ url }: Registered): string | null {
  const parsed = url === null ? null : URL.parse(url);
  const isPlain =
    parsed?.protocol === 'https:' && `${parsed.username}${parsed.password}${parsed.search}${parsed.hash}` === '' && parsed.pathname === '/';
  // Without the port where that is 443, as a URL is compared.
  return isPlain ? parsed.origin : null;
}

async function store(site: Site, peer: SeenPeer): Promise<boolean> {
  return inTransaction(site.db, async (trx) => {
    const isNew = (await getPeer(trx, peer.id)) === undefined;
    if (isNew && (await countPeers(trx)) >= MOST_SERVERS) return false;
    if (!(await putPeer(trx, peer, site.now()))) return false;
    const data = { name: peer.name, caPin: peer.caPin };
    const event = { origin: site.self.id, at: site.now(), actor: 'system', kind: 'server.met', subject: peer.id, data };
    if (isNew) await appendEvent(trx, event);
    return true;
  });
}
