import type { Site } from '../site.ts';
import { type Effort, keepTrying } from './keep-trying.ts';
import { freshReportState, type Listener, reportOnce } from './report.ts';

const LOOK_AGAIN_MS = 3_000;
/** Progress that changes every second is told once a second. */
const BREATH_MS = 700;

/** Tells a listener everything, as soon as it happens, until the effort's signal aborts. */
export async function keepTelling(site: Site, listener: Listener, effort: Effort): Promise<void> {
  const { signal } = effort;
  let state = freshReportState();
  await keepTrying(site, effort, async () => {
    const believed = listener.isDoubted() ? freshReportState() : state;
    // After a failure the listener is asked anew how far it is.
    state = freshReportState();
    const woken = site.wake.wait('events', LOOK_AGAIN_MS, signal);
    while (!signal.aborted && (await reportOnce(site, listener, believed, signal)));
    state = believed;
    await woken;
    await site.wake.wait('breath', BREATH_MS, signal);
  });
}
