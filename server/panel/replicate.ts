import { z } from 'zod';
import { AppError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import { askBelow } from '../control/ask.ts';
import { findServerBelow } from '../control/servers-below.ts';
import { appendEvent } from '../db/events.ts';
import { inTransaction } from '../db/open.ts';
import { requestRun } from '../replication.ts';
import type { Site } from '../site.ts';

const Started = z.object({ id: z.string().max(64), state: z.string().max(32) });

/** A run that was started at a server, here or below. */
export type StartedRun = z.infer<typeof Started> & { readonly server: string };

/**
 * Starts a run at this server or at one below, which is asked while the caller waits: its own word decides.
 * Errors: `not_found`, `ambiguous`, `unreachable` without an answer, and what the server itself says: `run_in_progress`, `disabled` while it is paused.
 */
export async function startRunAt(site: Site, reference: string, actor: string): Promise<StartedRun> {
  if (reference === site.self.name || reference === site.self.id) {
    const id = await requestRun(site, { trigger: 'command' });
    return { id, state: 'waiting-parent', server: site.self.name };
  }
  const below = await findServerBelow(site.db, reference);
  const answer = Started.safeParse(await askBelow(site, below, { kind: 'run.start', query: {} }));
  if (!answer.success)
    throw new AppError('version_mismatch', `server ${below.name} answered what cannot be read`, { hint: 'upgrade the older of the two' });
  await inTransaction(site.db, async (trx) => {
    const event = { kind: 'run.asked', subject: below.id as Id, data: { server: below.name, run: answer.data.id } };
    await appendEvent(trx, { origin: site.self.id, at: site.now(), actor, ...event });
  });
  site.wake.notify('events');
  return { ...answer.data, server: below.name };
}
