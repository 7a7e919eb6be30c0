import { isRunEnded } from '../../core/run.ts';
import { getRun, type Run } from '../../server/db/runs.ts';
import { requestRun } from '../../server/replication.ts';
import type { Site } from '../../server/site.ts';
import { waitUntil } from './wait-until.ts';

const LONGEST_MS = 120_000;

/** One run, to its end, of a site that serves: its own loop works on it, where `runOnce` would meet that loop and one of them lose the run. */
export async function runWhileServing(site: Site): Promise<Run> {
  const id = await requestRun(site, { trigger: 'command' });
  const find = () => getRun(site.db, id);
  const ended = async () => {
    const run = await find();
    return run !== undefined && isRunEnded(run.state) && run;
  };
  return waitUntil(`the end of run ${id}`, ended, { limitMs: LONGEST_MS, state: find });
}
