import type { Id } from '../../core/ids.ts';
import { isRunEnded } from '../../core/run.ts';
import { type News, SYNC_PROTOCOL } from '../../core/sync-protocol.ts';
import { keepTrying } from '../control/keep-trying.ts';
import { getLink, type Link, listLinks } from '../db/links.ts';
import { findUnfinishedRun, getRun } from '../db/runs.ts';
import { getServer } from '../db/servers.ts';
import type { Site } from '../site.ts';
import { pinnedJson } from '../trust/pinned-request.ts';
import { type PinnedAgent, pinnedAgent } from '../trust/pinned-tls.ts';
import { NEWS_LIMITS, notEnrolled, readNews } from './parent-client.ts';

/** The topic that tells a running server that links changed. */
export const LINKS = 'links';
const LOOK_AGAIN_MS = 30_000;
const POLL_SECONDS = 25;
/** After a run that failed the same news would start the next one at once. */
const FIRST_PAUSE_MS = 30_000;
const LONGEST_PAUSE_MS = 1_800_000;

export type Follow = {
  readonly site: Site;
  readonly signal: AbortSignal;
  /** Puts a run in the queue; undefined when the link may not run now (its window is shut, it is paused). */
  readonly request: (link: Link) => Promise<Id | undefined>;
};

/**
 * Starts a run whenever the parent has published, for links that ask for it (`afterParent`): a long poll that costs a few
 * hundred octets a minute and holds no slot of any schedule. A relay's children run after the relay, not by the clock.
 */
export async function followParent({ site, signal, request }: Follow): Promise<void> {
  let open: PinnedAgent | undefined;
  let failures = 0;
  await keepTrying(site, { what: 'news from the parent', signal }, async () => {
    const [link] = await listLinks(site.db);
    if (link === undefined || !link.afterParent) {
      await site.wake.wait(LINKS, LOOK_AGAIN_MS, signal);
      return;
    }
    open ??= await agentFor(site, link);
    const news = await askNews(site, { agent: open, link, signal }).catch((error) => {
      // Our certificate may be a new one by now, or the parent another.
      open?.destroy();
      open = undefined;
      throw error;
    });
    if (signal.aborted || !isNews(news, await getLink(site.db, link.id))) return;
    const outcome = await runAndWait({ site, signal, request }, link);
    failures = outcome === 'failed' ? failures + 1 : 0;
    if (outcome !== 'done')
      await site.wake.wait('pause', Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.max(0, failures - 1)), signal);
  }).finally(() => open?.destroy());
}

async function agentFor(site: Site, link: Link): Promise<PinnedAgent> {
  const parent = await getServer(site.db, link.parentId);
  if (parent === undefined) throw new Error(`link ${link.id} names a server that is not there`);
  const credentials = site.keys.parentCredentials(parent.id);
  if (credentials === undefined || parent.url === null || parent.caPin === null) throw notEnrolled(parent);
  return pinnedAgent({ pin: parent.caPin, cert: credentials.certPem, key: credentials.keyPem, now: site.now });
}

async function askNews(site: Site, { agent, link, signal }: { agent: PinnedAgent; link: Link; signal: AbortSignal }): Promise<News> {
  const parent = await getServer(site.db, link.parentId);
  const url = new URL('/api/v1/sync/wait', parent?.url ?? undefined);
  const held = { epoch: String(link.heldEpoch), since: String(link.heldGeneration) };
  url.search = new URLSearchParams({ protocol: String(SYNC_PROTOCOL), ...held, seconds: String(POLL_SECONDS) }).toString();
  return readNews(await pinnedJson(agent, { url: url.href, signal, limits: NEWS_LIMITS }));
}

function isNews(news: News, link: Link | undefined): boolean {
  return link?.afterParent === true && (news.epoch !== link.heldEpoch || news.generation > link.heldGeneration);
}

/** How a run of the link ended, ours or one that was going; `later` when none may start. */
async function runAndWait({ site, signal, request }: Follow, link: Link): Promise<'done' | 'failed' | 'later'> {
  const going = await findUnfinishedRun(site.db, link.id);
  const id = going?.id ?? (await request(link));
  if (id === undefined) return 'later';
  while (!signal.aborted) {
    const changed = site.wake.wait('runs', LOOK_AGAIN_MS, signal);
    const run = await getRun(site.db, id);
    if (run === undefined || isRunEnded(run.state)) return run?.state === 'done' ? 'done' : 'failed';
    await changed;
  }
  return 'later';
}
