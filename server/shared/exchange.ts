import { COMMANDS } from '../control/dispatch.ts';
import { keepTelling } from '../control/keep-telling.ts';
import { keepTrying } from '../control/keep-trying.ts';
import { CATALOGUE } from '../replication/wait-for-news.ts';
import type { Site } from '../site.ts';
import { readFence } from '../succession/fence.ts';
import { sendCommands, takeCommands, tellAllDone } from './commands.ts';
import { type Heard, hearNews } from './hear.ts';
import { meet, startMeeting } from './meet.ts';
import type { Shared } from './open.ts';
import { followRegistry, nothingSeen } from './registry.ts';
import { settleCommands } from './settle-commands.ts';
import { ASK_AGAIN_MS, sharedListener, tellObjects, tellSigners } from './tell.ts';

/** How often it is looked whether others have something for us: two statements that find nothing. */
const LOOK_EVERY_MS = 1_000;
/** How often it is looked who meets there: one row, while nobody comes or goes. */
const REGISTRY_EVERY_MS = 2_000;
/** How often objects of ours are looked for although nobody called: in our own database. */
const OBJECTS_EVERY_MS = 1_000;

/**
 * What a running server tells the others that meet in the database, and hears from them (docs/decisions/0025). Each loop asks
 * the database anew how far it is after every failure and now and then: what it lost is told again, and what it says twice counts once.
 * None of it is needed to boot a machine or to finish an order: while the database is away the loops wait for it.
 */
export function startExchange(site: Site, shared: Shared): { readonly close: () => Promise<void> } {
  const stopping = new AbortController();
  const { signal } = stopping;
  const running = Promise.all([
    keepTelling(site, sharedListener(site, shared), { what: 'reports to the shared database', signal }),
    keepTellingObjects(site, shared, signal),
    keepMeeting(site, shared, signal),
    keepListening(site, shared, signal),
  ]);
  return {
    close: async () => {
      stopping.abort();
      await running;
    },
  };
}

async function keepTellingObjects(site: Site, shared: Shared, signal: AbortSignal): Promise<void> {
  const told = believing<number>();
  await keepTrying(site, { what: 'our catalogue to the shared database', signal }, async () => {
    const believed = told.take();
    const woken = site.wake.wait(CATALOGUE, OBJECTS_EVERY_MS, signal);
    // Until a server that was fenced holds what its parent has, its objects may be of before.
    if ((await readFence(site.db)) === undefined) {
      if (believed === undefined) await tellSigners(site, shared);
      told.keep(await tellObjects(site, shared, believed));
    }
    await woken;
  });
}

/** What is believed of the database: until something fails, and for `ASK_AGAIN_MS`; whoever finds nothing here asks. */
function believing<Belief>(): { readonly take: () => Belief | undefined; readonly keep: (belief: Belief) => void } {
  let belief: Belief | undefined;
  let askedAt = performance.now();
  return {
    take: () => {
      const taken = performance.now() - askedAt > ASK_AGAIN_MS ? undefined : belief;
      belief = undefined;
      if (taken === undefined) askedAt = performance.now();
      return taken;
    },
    keep: (kept) => {
      belief = kept;
    },
  };
}

async function keepMeeting(site: Site, shared: Shared, signal: AbortSignal): Promise<void> {
  const meeting = startMeeting();
  await keepTrying(site, { what: 'the registry of the shared database', signal }, async () => {
    await meet(site, shared, meeting);
    await site.wake.wait('meeting', REGISTRY_EVERY_MS, signal);
  });
}

async function keepListening(site: Site, shared: Shared, signal: AbortSignal): Promise<void> {
  const heard = believing<Heard>();
  const seen = nothingSeen();
  await keepTrying(site, { what: 'the other servers of the shared database', signal }, async () => {
    const believed = heard.take();
    const woken = site.wake.wait(COMMANDS, LOOK_EVERY_MS, signal);
    const looked = believed ?? { mark: 0 };
    const fence = await readFence(site.db);
    if (fence?.phase === 'fenced') await settleCommands(site, fence, shared);
    else await exchangeCommands(site, shared, believed === undefined);
    await hearNews(site, shared, looked, () => followRegistry(site, shared, seen));
    heard.keep(looked);
    await woken;
  });
}

async function exchangeCommands(site: Site, shared: Shared, isDoubted: boolean): Promise<void> {
  if (isDoubted) await tellAllDone(site, shared);
  await sendCommands(site, shared);
  await takeCommands(site, shared);
}
