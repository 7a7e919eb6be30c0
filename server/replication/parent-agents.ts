import type { Id } from '../../core/ids.ts';
import type { KnownServer } from '../db/servers.ts';
import type { Site } from '../site.ts';
import { type PinnedAgent, pinnedAgent } from '../trust/pinned-tls.ts';

/** The connections to one parent, and what they were opened with: other keys or another address need others. */
type Kept = { readonly agent: PinnedAgent; readonly madeOf: string };

/** Only sites that keep connections between runs are in here: those of running servers. */
const KEPT = new WeakMap<Site, Map<Id, Kept>>();

/** A run's hold on the connections to its parent. */
export type AgentLoan = {
  readonly agent: PinnedAgent;
  /** `true`: they are in good order, and the next run may go on with them. */
  release(isSound: boolean): void;
};

/**
 * From now on the connections of this site's runs stay open behind them, so that a run with nothing new is one
 * request on a connection that is there. `close` ends them all; no run may be under way then.
 */
export function keepParentConnections(site: Site): { close(): void } {
  const kept = new Map<Id, Kept>();
  KEPT.set(site, kept);
  return {
    close: () => {
      KEPT.delete(site);
      for (const { agent } of kept.values()) agent.destroy();
    },
  };
}

/** The connections to `parent`, kept or new. Undefined when we were never enrolled there. A link has one run at a time, and so has an agent. */
export function borrowAgent(site: Site, parent: KnownServer): AgentLoan | undefined {
  const credentials = site.keys.parentCredentials(parent.id);
  if (credentials === undefined || parent.url === null || parent.caPin === null) return undefined;
  const options = { pin: parent.caPin, cert: credentials.certPem, key: credentials.keyPem };
  const shelf = KEPT.get(site);
  const madeOf = JSON.stringify([parent.url, options]);
  const found = shelf?.get(parent.id);
  shelf?.delete(parent.id);
  if (found !== undefined && found.madeOf !== madeOf) found.agent.destroy();
  const agent = found?.madeOf === madeOf ? found.agent : pinnedAgent({ ...options, now: site.now });
  return {
    agent,
    release: (isSound) => {
      const place = KEPT.get(site);
      if (isSound && place !== undefined && !place.has(parent.id)) place.set(parent.id, { agent, madeOf });
      else agent.destroy();
    },
  };
}
