import { CONTROL_PROTOCOL } from '../../core/control-protocol.ts';
import { describeError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import { listServers, touchServer } from '../db/servers.ts';
import { activateWaiting } from '../orders/accept.ts';
import { noteAnswer } from '../panel/contact.ts';
import type { Site } from '../site.ts';
import { fetchBack, startFetchingBack } from './fetch-back.ts';
import { keepTelling } from './keep-telling.ts';
import { keepTrying } from './keep-trying.ts';
import { APPROVALS, fetchApproved } from './offers/decide.ts';
import { newestMarks } from './own-reports.ts';
import { openChannel, type ParentChannel } from './parent-channel.ts';
import { pullOnce } from './pull.ts';
import type { Listener } from './report.ts';
import { watchSelf } from './status.ts';

/** The topic that tells that a parent was joined. */
export const PARENTS = 'parents';
const LOOK_AGAIN_MS = 3_000;
/** How soon what could not be fetched is tried again. */
const APPROVALS_AGAIN_MS = 15_000;
/** How often it is written down that the parent answers. */
const HEARD_EVERY_MS = 10_000;
/** Progress that changes every second is told once a second. */
const BREATH_MS = 700;

/**
 * What a running server tells the servers above it and hears from them, over connections that it opens: reports as soon as
 * something happened, control by a long poll. An outage costs nothing but time: both sides know where they stopped.
 */
export function startControl(site: Site): { readonly close: () => Promise<void> } {
  const stopping = new AbortController();
  const { signal } = stopping;
  const loops = new Map<Id, Talk>();
  const watch = async () => {
    while (!signal.aborted) {
      const woken = site.wake.wait(PARENTS, LOOK_AGAIN_MS, signal);
      try {
        const parents = (await listServers(site.db)).filter(({ relation }) => relation === 'parent').map(({ id }) => id);
        for (const id of parents) if (!loops.has(id)) loops.set(id, talkTo(site, id, signal));
        for (const [id, loop] of loops) {
          if (parents.includes(id)) continue;
          loop.stop();
          loops.delete(id);
          await loop.ended;
        }
      } catch (error) {
        site.log.error('the parents of this server cannot be read', { error: describeError(error).message });
      }
      await woken;
    }
  };
  const running = Promise.all([watch(), watchSelf(site, signal), watchWaiting(site, signal), watchApprovals(site, signal)]);
  return {
    close: async () => {
      stopping.abort();
      for (const loop of loops.values()) loop.stop();
      await running;
      await Promise.all([...loops.values()].map(({ ended }) => ended));
    },
  };
}

/** `doubt`: the parent may have fewer of our reports than we believe; it was away, or was restored from a backup. */
type Above = { readonly parentId: Id; readonly doubt: { isThere: boolean }; readonly noteHeard: () => Promise<void> };

type Talk = { readonly stop: () => void; readonly ended: Promise<unknown> };

/** The loops of one parent, on connections of their own, until they are stopped: also when it is our parent no more. */
function talkTo(site: Site, parentId: Id, until: AbortSignal): Talk {
  const stopping = new AbortController();
  const signal = AbortSignal.any([until, stopping.signal]);
  const channels = [openChannel(site, parentId), openChannel(site, parentId)] as const;
  const above: Above = { parentId, doubt: { isThere: false }, noteHeard: noterOf(site, parentId) };
  const telling = keepTelling(site, parentListens(site, channels[0], above), { what: 'reports to the parent', signal, parentId });
  const pulling = pullDown(site, channels[1], above, signal);
  return {
    stop: () => {
      stopping.abort();
      for (const channel of channels) channel.close();
    },
    ended: Promise.all([telling, pulling]),
  };
}

/** Says that the parent has answered: at once to who asks this process, and now and then in its row. */
function noterOf(site: Site, parentId: Id): () => Promise<void> {
  let writtenAt = -HEARD_EVERY_MS;
  return async () => {
    noteAnswer(site, parentId);
    if (performance.now() - writtenAt < HEARD_EVERY_MS) return;
    writtenAt = performance.now();
    await touchServer(site.db, parentId, site.now());
  };
}

function parentListens(site: Site, channel: ParentChannel, { doubt, noteHeard }: Above): Listener {
  return {
    name: 'the parent',
    streams: () => newestMarks(site),
    isDoubted: () => {
      const isDoubted = doubt.isThere;
      doubt.isThere = false;
      return isDoubted;
    },
    take: async (batches, signal) => {
      const answer = await channel.post('reports', { protocol: CONTROL_PROTOCOL, batches }, signal);
      await noteHeard();
      return answer;
    },
  };
}

async function pullDown(site: Site, channel: ParentChannel, { parentId, doubt, noteHeard }: Above, signal: AbortSignal): Promise<void> {
  let epoch: number | undefined;
  await keepTrying(site, { what: 'control by the parent', signal, parentId }, async () => {
    try {
      const told = await pullOnce(site, channel, parentId, signal);
      doubt.isThere ||= told !== epoch;
      epoch = told;
      await noteHeard();
    } catch (error) {
      doubt.isThere = true;
      throw error;
    }
  });
}

/** Orders that wait for their image start soon after a run has published it. */
async function watchWaiting(site: Site, signal: AbortSignal): Promise<void> {
  await keepTrying(site, { what: 'orders that wait', signal }, async () => {
    const woken = site.wake.wait('runs', LOOK_AGAIN_MS, signal);
    await activateWaiting(site);
    await woken;
    await site.wake.wait('breath', BREATH_MS, signal);
  });
}

/** Content from below: what was approved, and what we lost. One at a time. */
async function watchApprovals(site: Site, signal: AbortSignal): Promise<void> {
  const back = startFetchingBack();
  let backAt = 0;
  await keepTrying(site, { what: 'images from servers below', signal }, async () => {
    const woken = site.wake.wait(APPROVALS, Math.max(1, Math.min(APPROVALS_AGAIN_MS, backAt - performance.now())), signal);
    await fetchApproved(site, signal);
    if (performance.now() >= backAt) backAt = performance.now() + ((await fetchBack(site, back, signal)) ?? APPROVALS_AGAIN_MS);
    await woken;
  });
}
