import { describeError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import { noteFailure } from '../panel/contact.ts';
import type { Site } from '../site.ts';

const FIRST_PAUSE_MS = 500;
/** An order made just after an outage is there within this time; 500 branches that come back spread over it. */
const LONGEST_PAUSE_MS = 4_000;

/** With a `parentId` a failure is one to reach that server, and shown as such. */
export type Effort = { readonly what: string; readonly signal: AbortSignal; readonly parentId?: Id };

/** Does `work` again and again; after a failure with growing pauses. The first failure of an outage is told, and its end. */
export async function keepTrying(site: Site, { what, signal, parentId }: Effort, work: () => Promise<void>): Promise<void> {
  let failures = 0;
  let code = '';
  while (!signal.aborted) {
    try {
      await work();
      if (failures > 0) site.log.info(`${what}: through again`, { failures });
      failures = 0;
      code = '';
    } catch (error) {
      if (signal.aborted) return;
      const problem = describeError(error);
      if (parentId !== undefined) noteFailure(site, parentId, problem);
      if (problem.code !== code) site.log.warn(`${what}: not through`, { code: problem.code, error: problem.message });
      code = problem.code;
      failures += 1;
      await site.wake.wait('pause', Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - 1)) * (0.5 + Math.random() / 2), signal);
    }
  }
}
