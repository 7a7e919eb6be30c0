import { isRunEnded } from '../../core/run.ts';
import { getRun, type Run } from '../../server/db/runs.ts';
import { requestRun } from '../../server/replication.ts';
import type { Site } from '../../server/site.ts';

const LONGEST_MS = 120_000;

/** One run, to its end, of a site that serves: its own loop works on it, where `runOnce` would meet that loop and one of them lose the run. */
export async function runWhileServing(site: Site): Promise<Run> {
  const id = await requestRun(site, { trigger: 'command' });
  const deadline = performance.now() + LONGEST_MS;
  for (;;) {
    const changed = site.wake.wait('runs', 1_000);
    const run = await getRun(site.db, id);
    if (run !== undefined && isRunEnded(run.state)) return run;
    if (performance.now() > deadline) throw new Error(`run ${id} has not ended, it is ${run?.state}`);
    await changed;
  }
}
