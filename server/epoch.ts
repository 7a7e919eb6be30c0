import { raiseControlMarks } from './db/control-queue.ts';
import { appendEvent } from './db/events.ts';
import { getCatalogueNumbers, raiseGeneration, setEpoch } from './db/objects.ts';
import { inTransaction } from './db/open.ts';
import type { Site } from './site.ts';

export type CatalogueNumbers = { readonly epoch: number; readonly generation: number };

/**
 * Begins a new epoch of our catalogue: children that hold a higher generation than ours, because we were restored from a
 * backup, believe us again, take all that we have and keep what we lost, and do what we ask from now on. The number is the time in seconds, or one more than
 * the last: a server that is restored twice from one backup must not give a number twice.
 */
export async function raiseEpoch(site: Pick<Site, 'db' | 'self' | 'now' | 'wake'>, actor: string): Promise<CatalogueNumbers> {
  const at = site.now();
  const numbers = await inTransaction(site.db, async (trx) => {
    const { epoch, generation } = await getCatalogueNumbers(trx);
    const next = Math.max(epoch + 1, Math.floor(at / 1000));
    await setEpoch(trx, next);
    await raiseControlMarks(trx, next);
    const raised = await raiseGeneration(trx, next);
    const event = { origin: site.self.id, at, actor, subject: site.self.id };
    await appendEvent(trx, { ...event, kind: 'catalogue.epoch-raised', data: { from: epoch, epoch: next, generation } });
    return { epoch: next, generation: raised };
  });
  site.wake.notify('events');
  return numbers;
}
