import { isIPv6 } from 'node:net';
import type { ServerReport } from '../../core/control-protocol.ts';
import { AppError, describeError } from '../../core/errors.ts';
import { describeSelf } from '../control/status.ts';
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

/** Registers and then shows that this server lives, with what is new of it, until `signal` aborts. Nothing it meets ends it. */
export async function keepBeating(site: Site, shared: Shared, signal: AbortSignal): Promise<void> {
  let isRegistered = false;
  let said = '';
  let problem = '';
  while (!signal.aborted) {
    let pauseMs = BEAT_MS;
    try {
      if (!isRegistered) await registerSelf(site, shared);
      isRegistered = true;
      const report = await describeSelf(site);
      const news = newsOf(report);
      isRegistered = await shared.write('heartbeat', (trx) => beat(trx, site.self.id, news === said ? undefined : report), 'repeat');
      if (isRegistered) said = news;
      else pauseMs = 0;
      shared.complain(undefined);
      problem = '';
    } catch (error) {
      pauseMs = AGAIN_MS;
      // What is there now may be older than what we said: a restored database.
      isRegistered = false;
      said = '';
      if (shared.state().state === 'connected') shared.complain(error instanceof AppError ? error : new AppError('failed', String(error)));
      const { code, message } = describeError(error);
      if (code !== problem && code !== 'unreachable')
        site.log.warn('this server cannot show itself in the shared database', { code, error: message });
      problem = code;
    }
    await site.wake.wait('shared.beat', pauseMs, signal);
  }
}

/** Whose row is gone, or was written by an older life of ours, registers anew. */
async function registerSelf(site: Site, shared: Shared): Promise<void> {
  // A database that was made anew has no tables; who may, makes them.
  if (shared.state().state !== 'connected') await shared.prepare();
  const { epoch } = await getCatalogueNumbers(site.db);
  await register(shared, registrationOf(site.keys, { name: site.self.name, url: advertisedUrl(site, shared), epoch }));
}

/** Where others reach our API: what the configuration says, else the address from which we reached the database. */
function advertisedUrl({ config }: Site, shared: Shared): string | null {
  if (config.advertise.https !== undefined) return new URL(config.advertise.https).origin;
  const address = shared.localAddress()?.replace(/^::ffff:/, '');
  if (address === undefined) return null;
  return `https://${isIPv6(address) ? `[${address}]` : address}:${config.httpsPort}`;
}

/** What makes a report worth writing: not the time, and not every megabyte. */
function newsOf({ at: _at, startedAt, disk, ...facts }: ServerReport): string {
  return JSON.stringify([facts, startedAt.slice(0, 16), Math.round(disk.freeBytes / 1e9)]);
}
