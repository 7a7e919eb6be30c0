import { CONTROL_PROTOCOL, type Pulled } from '../../core/control-protocol.ts';
import type { Id } from '../../core/ids.ts';
import { dropCommands, getControlMark, listCommands, lockControlMark, renumberCommands } from '../db/control-queue.ts';
import { getGrant } from '../db/egress.ts';
import { getCatalogueNumbers } from '../db/objects.ts';
import { inTransaction } from '../db/open.ts';
import { touchServer } from '../db/servers.ts';
import type { Site } from '../site.ts';
import { takeRequests } from './ask.ts';
import { controlTopic } from './dispatch.ts';

/** Below the time-outs of proxies and of the child's own request. */
const LONG_POLL_MS = 25_000;
/** How often the queue is looked at although nobody called: another process may have written it. */
const LOOK_AGAIN_MS = 10_000;
const MOST_COMMANDS = 100;

type Poll = { readonly after: number; readonly paused: boolean | undefined };

/**
 * The parent's side of a child's poll. `after` is the last command that the child has done: those up to it are forgotten; `paused`
 * is what it believes of our pause, if it does. Answers as soon as there is something, or empty-handed after 25 s.
 */
export async function answerPull(site: Site, childId: Id, { after, paused }: Poll, signal: AbortSignal): Promise<Pulled> {
  await touchServer(site.db, childId, site.now());
  await acknowledge(site, childId, after);
  const { epoch } = await getCatalogueNumbers(site.db);
  const deadline = performance.now() + LONG_POLL_MS;
  for (;;) {
    const answered = new AbortController();
    const remaining = Math.max(0, deadline - performance.now());
    // Listen before looking: a wake-up between the two must not be lost.
    const woken = site.wake.wait(controlTopic(childId), Math.min(remaining, LOOK_AGAIN_MS), AbortSignal.any([signal, answered.signal]));
    const commands = await listCommands(site.db, childId, after, MOST_COMMANDS);
    const requests = signal.aborted ? [] : takeRequests(site, childId);
    const isPaused = (await getGrant(site.db, childId))?.paused != null;
    const isNews = commands.length > 0 || requests.length > 0 || (paused !== undefined && paused !== isPaused);
    if (isNews || remaining === 0 || signal.aborted) {
      answered.abort();
      return { protocol: CONTROL_PROTOCOL, epoch, paused: isPaused, commands, requests };
    }
    await woken;
  }
}

/** Forgets what a child, or a server of the shared database, says to have done of our commands. */
export async function acknowledge(site: Site, childId: Id, after: number): Promise<void> {
  const last = await getControlMark(site.db, childId, 'down');
  if (after <= last) return dropCommands(site.db, childId, after);
  // The child has done more than we remember having asked: we were set back. What waits gets numbers that it does not know.
  await inTransaction(site.db, async (trx) => {
    if (after > (await lockControlMark(trx, childId, 'down'))) await renumberCommands(trx, childId, after);
  });
  site.log.warn('a child is ahead of our control queue; its numbers go on from there', { server: childId, last, after });
}
