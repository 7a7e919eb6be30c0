import { isIPv6 } from 'node:net';
import type { ServerReport } from '../../core/control-protocol.ts';
import { AppError, describeError } from '../../core/errors.ts';
import { describeSelf, newsOf } from '../control/status.ts';
import { getCatalogueNumbers } from '../db/objects.ts';
import { beat } from '../db/shared/servers.ts';
import type { Site } from '../site.ts';
import type { Shared } from './open.ts';
import { register, registrationOf } from './register.ts';

/** How often a server shows that it lives; after a failure it looks again sooner. */
const BEAT_MS = 10_000;
const AGAIN_MS = 1_000;
/** Who was not heard for so long, by the database's clock, is shown as silent. */
export const SILENT_MS = 60_000;

/** Somebody has reached the database again: nobody waits for the next beat to be heard. */
export const BEAT = 'shared.beat';

/** What was said in this contact with the database, which began at `since`; null: nothing yet. */
type Memory = { since: number | null; said: string; problem: string };

/** Registers and then shows that this server lives, with what is new of it, until `signal` aborts. Nothing it meets ends it. */
export async function keepBeating(site: Site, shared: Shared, signal: AbortSignal): Promise<void> {
  const memory: Memory = { since: null, said: '', problem: '' };
  while (!signal.aborted) {
    let pauseMs = BEAT_MS;
    try {
      await beatOnce(site, shared, memory);
      shared.complain(undefined);
      memory.problem = '';
    } catch (error) {
      pauseMs = AGAIN_MS;
      memory.since = null;
      complain(site, shared, { error, memory });
    }
    await site.wake.wait(BEAT, pauseMs, signal);
  }
}

async function beatOnce(site: Site, shared: Shared, memory: Memory): Promise<void> {
  // What is there after an outage may be older than what we said: a restored database.
  if (memory.since === null || memory.since !== sinceOf(shared)) {
    await registerSelf(site, shared);
    memory.said = '';
  }
  const report = await describeSelf(site);
  const news = newsOf(report);
  const show = (told: ServerReport | undefined) => shared.write('heartbeat', (trx) => beat(trx, site.self.id, told), 'repeat');
  if (!(await show(news === memory.said ? undefined : report))) {
    // Our row is gone, or no longer ours.
    await registerSelf(site, shared);
    await show(report);
  }
  memory.said = news;
  memory.since = sinceOf(shared);
}

function sinceOf(shared: Shared): number | null {
  const state = shared.state();
  return state.state === 'connected' ? state.since : null;
}

/** The first of the same kind is told; that the database is away is told where it is noticed. */
function complain(site: Site, shared: Shared, { error, memory }: { readonly error: unknown; readonly memory: Memory }): void {
  const { code, message } = describeError(error);
  const isReached = shared.state().state === 'connected';
  if (isReached) shared.complain(error instanceof AppError ? error : new AppError('failed', message));
  if (isReached && code !== memory.problem)
    site.log.warn('this server cannot show itself in the shared database', { code, error: message });
  memory.problem = code;
}

/** Whose row is gone, or was written by an older life of ours, registers anew. */
async function registerSelf(site: Site, shared: Shared): Promise<void> {
  // A database that was made anew has no tables; who may, makes them.
  if (sinceOf(shared) === null) await shared.prepare();
  const { epoch } = await getCatalogueNumbers(site.db);
  await register(shared, registrationOf(site.keys, { name: site.self.name, url: advertisedUrl(site, shared), epoch }));
}

/** Where others reach our API: what the configuration says, else the address from which we reached the database. */
function advertisedUrl({ config }: Site, shared: Shared): string | null {
  if (config.advertise.https !== undefined) return new URL(config.advertise.https).origin;
  const address = shared.localAddress()?.replace(/^::ffff:/, '');
  if (address === undefined) return null;
  return new URL(`https://${isIPv6(address) ? `[${address}]` : address}:${config.httpsPort}`).origin;
}
