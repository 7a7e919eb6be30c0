import { AppError } from '../../core/errors.ts';
import { OUR_PROTOCOLS, PLAIN_ENCODINGS, READ_ENCODINGS } from '../../core/negotiate.ts';
import { ArchivePlan, type ArchiveRequest, type Catalogue, News, SYNC_PROTOCOL } from '../../core/sync-protocol.ts';
import type { CatalogueSource, ContentSource } from '../../sync/replicate/ports.ts';
import type { Link } from '../db/links.ts';
import type { KnownServer } from '../db/servers.ts';
import { listSigners } from '../db/signers.ts';
import type { Site } from '../site.ts';
import { pinnedJson, pinnedUpgrade } from '../trust/pinned-request.ts';
import type { PinnedAgent } from '../trust/pinned-tls.ts';
import { signerHint } from '../trust/signatures.ts';
import { type AgentLoan, borrowAgent } from './parent-agents.ts';
import { parentSays } from './parent-says.ts';
import { withAlarm } from './refusals.ts';
import { keepShare } from './share.ts';
import { currentCap, tellCaps } from './tell-caps.ts';
import { acceptTier } from './tier.ts';
import { verifyCatalogue } from './verify-catalogue.ts';

/** A parent as one run talks to it. */
export type ParentClient = CatalogueSource &
  ContentSource & {
    /** Octets of this run's TLS sockets, and how often something was asked. */
    traffic(): { readonly bytesReceived: number; readonly bytesSent: number; readonly requests: number };
    /** `isSound`: the connections may serve the next run. */
    close(isSound: boolean): void;
  };

/** The upgrade's protocol: rsync's daemon protocol inside the frames of sync/tunnel/frames.ts. */
export const TUNNEL_PROTOCOL = 'waystation-rsync';

/** Some 20,000 objects in one answer, and plans of some 3 TiB: what a parent tells is not more than a child can hold in memory. */
const CATALOGUE_LIMITS = { bytes: 32 * 1_048_576, values: 2_000_000 };
const PLAN_LIMITS = { bytes: 4 * 1_048_576, values: 100_000 };
export const NEWS_LIMITS = { bytes: 4096, values: 100 };
/** How long one question for the end of a run at the parent may stay open. */
const POLL_SECONDS = 25;
const LEAST_BETWEEN_POLLS_MS = 1_000;

export type ParentOptions = {
  readonly parent: KnownServer;
  readonly link: Link;
  /** How long to wait for a parent that is in the middle of its own run; after that what it has published will do. */
  readonly waitMs?: number;
  /** Ends what is asked, with its reason: a parent that is silent must not hold up the end of a run or of the server. */
  readonly signal?: AbortSignal;
};

/** Prepares to talk to a parent; nothing is sent yet. Every call throws `config` when we were never enrolled there. */
export function openParent(site: Site, { parent, link, waitMs = 0, signal }: ParentOptions): ParentClient {
  let opened: { readonly loan: AgentLoan; readonly before: ReturnType<PinnedAgent['bytes']> } | undefined;
  const agent = () => {
    opened ??= openLoan(site, parent);
    return opened.loan.agent;
  };
  const at = (path: string, query: Record<string, string> = {}) => {
    const url = new URL(`/api/v1/sync/${path}`, parent.url ?? undefined);
    url.search = new URLSearchParams(query).toString();
    return url.href;
  };
  const stoppable = signal === undefined ? {} : { signal };
  let requests = 0;
  const ask = () => {
    requests += 1;
    return agent();
  };
  /** Which key of the parent's we know: it need not introduce that again. */
  const knownSigner = async (): Promise<Record<string, string>> => {
    const newest = (await listSigners(site.db, parent.id)).at(-1);
    return newest === undefined ? {} : { signer: signerHint(newest.keyId) };
  };
  let answer: unknown;
  let keepsCredit = false;
  const { oldest, newest } = OUR_PROTOCOLS;
  const query = { protocol: String(oldest), newest: String(newest), epoch: String(link.heldEpoch), since: String(link.heldGeneration) };
  const askCatalogue = async () => {
    answer = await parentSays(
      pinnedJson(ask(), { url: at('catalogue', { ...query, ...(await knownSigner()) }), limits: CATALOGUE_LIMITS, ...stoppable }),
    );
  };
  const settle = async () => {
    const endsMs = performance.now() + waitMs;
    while (isBusy(answer) && performance.now() < endsMs) {
      const url = at('wait', { ...query, settled: 'true', seconds: String(POLL_SECONDS) });
      // A long poll is slow by itself; one that is answered at once must not become a loop without a pause.
      const pause = site.wake.wait('pause', LEAST_BETWEEN_POLLS_MS, signal);
      const news = readNews(await pinnedJson(ask(), { url, limits: NEWS_LIMITS, ...stoppable }));
      if (!news.busy) await askCatalogue();
      if (isBusy(answer)) await pause;
    }
  };
  return {
    async reach() {
      await askCatalogue();
      await settle();
    },
    async read() {
      if (answer === undefined) await askCatalogue();
      return withAlarm(site, link, async () => {
        const verified = await verifyCatalogue(site, { parent, link }, answer);
        await acceptTier(site, link, (answer as Catalogue).tier);
        await keepShare(site.db, link, (answer as Catalogue).share);
        return verified;
      });
    },
    async requestArchive({ have, want, wantChunks, isPlain }) {
      const body: ArchiveRequest = {
        protocol: SYNC_PROTOCOL,
        have: [...have],
        want: [...want],
        ...(wantChunks.length === 0 ? {} : { wantChunks: [...wantChunks] }),
        encodings: [...(isPlain ? PLAIN_ENCODINGS : READ_ENCODINGS)],
        partial: true,
      };
      return parsePlan(await parentSays(pinnedJson(ask(), { url: at('archives'), json: body, limits: PLAN_LIMITS, ...stoppable })));
    },
    async openTunnel(archiveKey, { credit } = {}) {
      const cap = await currentCap(site, link.id);
      const query = { archive: archiveKey, ...cap.query, ...(credit === undefined ? {} : { credit: String(credit) }) };
      const { socket, head, abilities } = await parentSays(pinnedUpgrade(ask(), { url: at('tunnel', query), protocol: TUNNEL_PROTOCOL }));
      keepsCredit = abilities.includes('credit');
      tellCaps(site, { cap, socket, abilities });
      return { link: socket, head };
    },
    keepsCredit: () => keepsCredit,
    traffic: () => {
      if (opened === undefined) return { bytesReceived: 0, bytesSent: 0, requests };
      const { read, written } = opened.loan.agent.bytes();
      return { bytesReceived: read - opened.before.read, bytesSent: written - opened.before.written, requests };
    },
    close: (isSound) => opened?.loan.release(isSound),
  };
}

function openLoan(site: Site, parent: KnownServer) {
  const loan = borrowAgent(site, parent);
  if (loan === undefined) throw notEnrolled(parent);
  return { loan, before: loan.agent.bytes() };
}

function isBusy(answer: unknown): boolean {
  return (answer as { tier?: { busy?: boolean } } | undefined)?.tier?.busy === true;
}

/** The answer of `sync/wait`. Throws `version_mismatch`. */
export function readNews(answer: unknown): News {
  const parsed = News.safeParse(answer);
  if (parsed.success) return parsed.data;
  throw new AppError('version_mismatch', 'the parent cannot tell when it has published', { hint: 'upgrade it, or set a schedule' });
}

function parsePlan(answer: unknown): ArchivePlan {
  const parsed = ArchivePlan.safeParse(answer);
  if (parsed.success) return parsed.data;
  throw new AppError('version_mismatch', "the parent's answer to our archive request is not one that we can read", {
    hint: 'upgrade the older of the two servers',
  });
}

/** We hold nothing by which that parent would know us. */
export function notEnrolled(parent: KnownServer): AppError {
  return new AppError('config', `this server holds no certificate for its parent ${parent.name}`, {
    hint: 'enrol again: waystation server token at the parent, waystation server join URL here',
  });
}
