import type { ServerReport } from '../../core/control-protocol.ts';
import type { Id } from '../../core/ids.ts';
import { linkedOf } from '../control/servers-below.ts';
import { describeSelf } from '../control/status.ts';
import { countAllCommands } from '../db/control-queue.ts';
import { listGrants } from '../db/egress.ts';
import { type Link, listLinks, type Pause } from '../db/links.ts';
import { listOperatorTokens } from '../db/operator-tokens.ts';
import { listOrigins, type Origin } from '../db/origins.ts';
import { listPeers, type Peer } from '../db/peers.ts';
import { type ListedServer, listServersForPeople } from '../db/servers.ts';
import { listSyncAlarms } from '../db/sync-alarms.ts';
import { listAncestors } from '../db/trusted-servers.ts';
import { lastRegistry, type Registry } from '../shared/last-registry.ts';
import type { Site } from '../site.ts';
import { type KeptSummary, listSummaries, summarise } from './summaries.ts';

/** All that the tree is made of, read once for every server together. */
export type TreeFacts = {
  readonly now: number;
  readonly servers: readonly ListedServer[];
  readonly link: Link | undefined;
  readonly origins: ReadonlyMap<Id, Origin>;
  readonly reports: ReadonlyMap<Id, KeptSummary>;
  readonly self: KeptSummary;
  /** The report of this server that `self` is the summary of. */
  readonly own: ServerReport;
  /** Pauses of children, here. */
  readonly pauses: ReadonlyMap<Id, Pause | null>;
  readonly alarms: ReadonlyMap<Id, number>;
  readonly waiting: ReadonlyMap<Id, number>;
  /** Names of operators, by the id of their token. */
  readonly operators: ReadonlyMap<string, string>;
  /** Servers meet in a shared database: there a parent can be wished for each of them. */
  readonly isMeeting: boolean;
  /** Whom we met there, and what its registry says of them. */
  readonly peers: ReadonlyMap<Id, Peer>;
  readonly registry: Registry | undefined;
  /** The servers above our parent, the nearest first. */
  readonly ancestors: readonly string[];
};

export async function readTreeFacts(site: Site): Promise<TreeFacts> {
  const now = site.now();
  const own = await describeSelf(site);
  const [link] = await listLinks(site.db);
  const peers = await listPeers(site.db);
  return {
    now,
    link,
    servers: linkedOf(await listServersForPeople(site.db), peers),
    origins: new Map((await listOrigins(site.db)).map((origin) => [origin.id, origin])),
    reports: await listSummaries(site),
    own,
    self: { seq: 0, at: now, summary: summarise(own) },
    pauses: new Map((await listGrants(site.db)).map(({ id, paused }) => [id, paused])),
    alarms: await listSyncAlarms(site.db),
    waiting: await countAllCommands(site.db),
    isMeeting: site.shared !== undefined,
    peers: new Map(peers.map((peer) => [peer.id, peer])),
    registry: site.shared === undefined ? undefined : await lastRegistry(site.shared),
    ancestors: (await listAncestors(site.db)).map(({ name }) => name),
    operators: new Map((await listOperatorTokens(site.db)).map(({ id, name }) => [id, name])),
  };
}
