import { describeError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import { listServers } from '../db/servers.ts';
import { activateWaiting } from '../orders/accept.ts';
import { noteAnswer } from '../panel/contact.ts';
import type { Site } from '../site.ts';
import { fetchBack } from './fetch-back.ts';
import { keepTrying } from './keep-trying.ts';
import { APPROVALS, fetchApproved } from './offers/decide.ts';
import { openChannel, type ParentChannel } from './parent-channel.ts';
import { pullOnce } from './pull.ts';
import { freshReportState, reportOnce } from './report.ts';
import { watchSelf } from './status.ts';

/** The topic that tells that a parent was joined. */
export const PARENTS = 'parents';
const LOOK_AGAIN_MS = 3_000;
/** How soon what could not be fetched is tried again. */
const APPROVALS_AGAIN_MS = 15_000;
/** Progress that changes every second is told once a second. */
const BREATH_MS = 700;

/**
 * What a running server tells the servers above it and hears from them, over connections that it opens: reports as soon as
 * something happened, control by a long poll. An outage costs nothing but time: both sides know where they stopped.
 */
export function startControl(site: Site): { readonly close: () => Promise<void> } {
  const stopping = new AbortController();
  const { signal } = stopping;
  const loops = new Map<Id, Promise<unknown>>();
  const channels: ParentChannel[] = [];
  const watch = async () => {
    while (!signal.aborted) {
      const woken = site.wake.wait(PARENTS, LOOK_AGAIN_MS, signal);
      try {
        for (const parent of (await listServers(site.db)).filter(({ relation }) => relation === 'parent')) {
          if (loops.has(parent.id)) continue;
          const open = () => {
            const channel = openChannel(site, parent.id);
            channels.push(channel);
            return channel;
          };
          const above: Above = { parentId: parent.id, doubt: { isThere: false } };
          loops.set(parent.id, Promise.all([reportUp(site, open(), above, signal), pullDown(site, open(), above, signal)]));
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
      for (const channel of channels) channel.close();
      await running;
      await Promise.all(loops.values());
    },
  };
}

/** `doubt`: the parent may have fewer of our reports than we believe; it was away, or was restored from a backup. */
type Above = { readonly parentId: Id; readonly doubt: { isThere: boolean } };

async function reportUp(site: Site, channel: ParentChannel, { parentId, doubt }: Above, signal: AbortSignal): Promise<void> {
  let state = freshReportState();
  await keepTrying(site, { what: 'reports to the parent', signal, parentId }, async () => {
    const believed = doubt.isThere ? freshReportState() : state;
    doubt.isThere = false;
    // After a failure the parent is asked anew how far it is.
    state = freshReportState();
    const woken = site.wake.wait('events', LOOK_AGAIN_MS, signal);
    while (!signal.aborted && (await reportOnce(site, channel, believed, signal))) noteAnswer(site, parentId);
    state = believed;
    await woken;
    await site.wake.wait('breath', BREATH_MS, signal);
  });
}

async function pullDown(site: Site, channel: ParentChannel, { parentId, doubt }: Above, signal: AbortSignal): Promise<void> {
  let epoch: number | undefined;
  await keepTrying(site, { what: 'control by the parent', signal, parentId }, async () => {
    try {
      const told = await pullOnce(site, channel, parentId, signal);
      doubt.isThere ||= told !== epoch;
      epoch = told;
      noteAnswer(site, parentId);
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
  const refused = new Set<string>();
  await keepTrying(site, { what: 'images from servers below', signal }, async () => {
    const woken = site.wake.wait(APPROVALS, APPROVALS_AGAIN_MS, signal);
    await fetchApproved(site, signal);
    await fetchBack(site, refused, signal);
    await woken;
  });
}
