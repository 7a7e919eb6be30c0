import type { AppError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import type { ContentSource } from '../../sync/replicate/ports.ts';
import { onceClosed } from '../../sync/tunnel/once-closed.ts';
import { appendEvent } from '../db/events.ts';
import { type Link, updateLinkRate } from '../db/links.ts';
import type { GivenBytes } from '../db/runs.ts';
import type { KnownServer } from '../db/servers.ts';
import { listSources, type Source, updateSourceRate } from '../db/sources.ts';
import type { Site } from '../site.ts';
import { openParent, type ParentClient } from './parent-client.ts';
import type { Traffic } from './records.ts';

/** Less than this says nothing about how fast a server is. */
const LEAST_MEASURED_BYTES = 256 * 1024;

type Giver = {
  readonly id: Id;
  readonly name: string;
  readonly client: ParentClient;
  readonly rateBytes: number | null;
  readonly keepRate: (bytesPerSecond: number) => Promise<void>;
  bytesRsync: number;
  /** How long it had a tunnel open. */
  busyMs: number;
  /** How many are open now, and since when at least one is. */
  open: number;
  openedMs: number;
};

/** The servers that a run may take content from: the parent, then the sources in their order. One gives at a time. */
export type ContentGivers = ContentSource & {
  /** Counts payload for who gives now. */
  count(bytes: number): void;
  /** All servers together. */
  traffic(): Traffic;
  /** Who gave how much, those that gave nothing left out. */
  given(): readonly GivenBytes[];
  /** Writes down how fast each was; never throws. */
  keepRates(): Promise<void>;
  close(isSound: boolean): void;
};

type Given = { readonly parent: KnownServer; readonly client: ParentClient; readonly link: Link; readonly runId: Id };

/** What makes no difference who gives: our own disk, our own programs, content that is wrong wherever it comes from. */
const OUR_OWN: readonly string[] = [
  'disk_full',
  'missing_program',
  'mismatch',
  'corrupt',
  'cancelled',
  'run_in_progress',
  'window_closed',
  'disabled',
];

export async function openGivers(site: Site, { parent, client, link, runId }: Given): Promise<ContentGivers> {
  const givers: Giver[] = [
    giver(parent, { client, rateBytes: capped(link), keepRate: (rate) => updateLinkRate(site.db, link.id, rate) }),
    ...(await listSources(site.db)).map((source) => {
      const asServer = serverOf(source);
      const rest = { rateBytes: source.rateBytes, keepRate: (rate: number) => updateSourceRate(site.db, source.serverId, rate) };
      return giver(asServer, { client: openParent(site, { parent: asServer, link }), ...rest });
    }),
  ];
  let at = 0;
  const now = () => givers[at] as Giver;
  const canTurn = ({ code }: AppError) => {
    if (at + 1 >= givers.length || OUR_OWN.includes(code)) return false;
    // The parent is left only when it is away, slow, or lacks something; what it refuses must be seen.
    return at > 0 || code === 'unreachable' || code === 'not_found';
  };
  const note = async (from: Giver, why: AppError) => {
    const data = { run: runId, from: from.name, to: now().name, why: why.message };
    site.log.warn('content comes from another server', data);
    const event = { origin: site.self.id, at: site.now(), actor: 'system', kind: 'run.turned', subject: runId };
    await appendEvent(site.db, { ...event, data });
  };
  const sums = () => givers.map((one) => ({ giver: one, traffic: one.client.traffic() }));
  return {
    requestArchive: (wish) => now().client.requestArchive(wish),
    async openTunnel(key, wish) {
      const current = now();
      const tunnel = await current.client.openTunnel(key, wish);
      // Two at the end of a part: their time counts once.
      if (current.open++ === 0) current.openedMs = performance.now();
      onceClosed(tunnel.link, () => {
        if (--current.open === 0) current.busyMs += performance.now() - current.openedMs;
      });
      return tunnel;
    },
    keepsCredit: () => now().client.keepsCredit?.() === true,
    async turn(why) {
      if (!canTurn(why)) return false;
      const from = now();
      at += 1;
      await note(from, why);
      return true;
    },
    expected: () => {
      const { name, rateBytes } = now();
      return rateBytes === null || at + 1 >= givers.length ? undefined : { name, bytesPerSecond: rateBytes };
    },
    count: (bytes) => {
      now().bytesRsync += bytes;
    },
    traffic: () => ({
      bytesReceived: sum(sums().map(({ traffic }) => traffic.bytesReceived)),
      bytesSent: sum(sums().map(({ traffic }) => traffic.bytesSent)),
      requests: sum(sums().map(({ traffic }) => traffic.requests)),
      bytesRsync: sum(givers.map(({ bytesRsync }) => bytesRsync)),
    }),
    given: () =>
      sums()
        .map(({ giver: { id, name, bytesRsync }, traffic }) => ({ server: id, name, bytesReceived: traffic.bytesReceived, bytesRsync }))
        .filter(({ bytesReceived }) => bytesReceived > 0),
    keepRates: async () => {
      const measured = givers.filter(({ bytesRsync, busyMs }) => bytesRsync >= LEAST_MEASURED_BYTES && busyMs > 0);
      for (const { bytesRsync, busyMs, keepRate } of measured) {
        // How fast a server was is an aid; a run does not fail for it.
        await keepRate(Math.round((bytesRsync * 1000) / busyMs)).catch((error) =>
          site.log.debug('a rate was not kept', { error: String(error) }),
        );
      }
    },
    close: (isSound) => {
      for (const { client } of givers) client.close(isSound);
    },
  };
}

function giver(server: KnownServer, rest: Pick<Giver, 'client' | 'rateBytes' | 'keepRate'>): Giver {
  return { id: server.id, name: server.name, ...rest, bytesRsync: 0, busyMs: 0, open: 0, openedMs: 0 };
}

/** What the parent is expected to give: what it gave, and no more than the caps that the link sets itself. */
function capped({ rateBytes, caps }: Link): number | null {
  if (rateBytes === null) return null;
  const limits = [caps.bps, caps.office?.bps ?? null].filter((bps) => bps !== null).map((bps) => bps / 8);
  return Math.min(rateBytes, ...limits);
}

function serverOf({ serverId, name, url, caPin, certificateKeyId, createdAt }: Source): KnownServer {
  const server = { id: serverId, name, url, caPin, certificateKeyId, createdAt };
  return { ...server, relation: 'parent', state: 'active', ca: null, signerKeyId: null, seenAt: null };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}
