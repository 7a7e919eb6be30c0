import type { Id } from '../../core/ids.ts';
import { describeSelf } from '../control/status.ts';
import { countAllCommands } from '../db/control-queue.ts';
import { listGrants } from '../db/egress.ts';
import { type Link, listLinks, type Pause } from '../db/links.ts';
import { listOperatorTokens } from '../db/operator-tokens.ts';
import { listOrigins, type Origin } from '../db/origins.ts';
import { type KnownServer, listServers } from '../db/servers.ts';
import { listSyncAlarms } from '../db/sync-alarms.ts';
import type { Site } from '../site.ts';
import { type KeptSummary, listSummaries, summarise } from './summaries.ts';

/** All that the tree is made of, read once for every server together. */
export type TreeFacts = {
  readonly now: number;
  readonly servers: readonly KnownServer[];
  readonly link: Link | undefined;
  readonly origins: ReadonlyMap<Id, Origin>;
  readonly reports: ReadonlyMap<Id, KeptSummary>;
  readonly self: KeptSummary;
  /** Pauses of children, here. */
  readonly pauses: ReadonlyMap<Id, Pause | null>;
  readonly alarms: ReadonlyMap<Id, number>;
  readonly waiting: ReadonlyMap<Id, number>;
  /** Names of operators, by the id of their token. */
  readonly operators: ReadonlyMap<string, string>;
  /** Servers meet in a shared database: there a parent can be wished for each of them. */
  readonly isMeeting: boolean;
};

export async function readTreeFacts(site: Site): Promise<TreeFacts> {
  const now = site.now();
  const [link] = await listLinks(site.db);
  return {
    now,
    link,
    servers: await listServers(site.db),
    origins: new Map((await listOrigins(site.db)).map((origin) => [origin.id, origin])),
    reports: await listSummaries(site),
    self: { seq: 0, at: now, summary: summarise(await describeSelf(site)) },
    pauses: new Map((await listGrants(site.db)).map(({ id, paused }) => [id, paused])),
    alarms: await listSyncAlarms(site.db),
    waiting: await countAllCommands(site.db),
    isMeeting: site.shared !== undefined,
    operators: new Map((await listOperatorTokens(site.db)).map(({ id, name }) => [id, name])),
  };
}
