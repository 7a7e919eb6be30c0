import { join } from 'node:path';
import type { FindAgent } from './api/identity.ts';
import { type Listeners, startListeners } from './api/start.ts';
import { startBootServices } from './boot/start.ts';
import { startCare } from './care/chores.ts';
import { startControl } from './control/start.ts';
import { findAgentKey } from './db/agent-keys.ts';
import { startActivations } from './holdings/activation.ts';
import { startAlarms } from './holdings/alarms.ts';
import { startOrderExpiry } from './orders/expiry.ts';
import { startReplication } from './replication.ts';
import { startExchange } from './shared/exchange.ts';
import { startShared } from './shared/start.ts';
import type { Site } from './site.ts';
import { startSuccession } from './succession/start.ts';
import { startRenewal } from './trust/renewal.ts';

export type Serving = {
  readonly httpUrl: string;
  readonly httpsUrl: string;
  readonly tftpPort: number;
  /** Stops everything in at most 10 seconds; may be called twice. The site stays open. */
  close(): Promise<void>;
};

/** Requests that run when serve is told to stop get this long to end. */
const GRACE_MS = 5000;
/** Who has not stopped by then is named in the log: when the whole stop is given up, it says where. */
const SLOW_MS = 3000;

type Stop = { readonly part: string; readonly stop: () => Promise<void> | void };

/**
 * The running server: listeners, boot services, schedules. What was started is stopped again when a later part fails.
 * Errors: `port_in_use` and `config` name the port and the setting to change.
 */
export async function startServe(site: Site): Promise<Serving> {
  const stops: Stop[] = [];
  const close = closer(site, stops);
  try {
    const findAgent: FindAgent = (keyId) => findAgentKey(site.db, keyId);
    const listeners = await startListeners(site, { findAgent, socketPath: join(site.dataDir, 'run', 'api.sock'), graceMs: GRACE_MS });
    stops.push({ part: 'listeners', stop: listeners.close });
    const bound = listeners.site;
    const boot = await startBootServices(bound);
    stops.push({ part: 'boot', stop: boot.close });
    stops.push({ part: 'orders', stop: startOrderExpiry(bound) });
    stops.push({ part: 'certificates', stop: startRenewal(bound, { onLeaf: listeners.swapLeaf }) });
    stops.push({ part: 'activations', stop: startActivations(bound) });
    stops.push({ part: 'alarms', stop: startAlarms(bound) });
    stops.push({ part: 'replication', stop: startReplication(bound).close });
    stops.push({ part: 'control', stop: startControl(bound).close });
    stops.push({ part: 'shared', stop: startShared(bound).close });
    if (bound.shared !== undefined) stops.push({ part: 'exchange', stop: startExchange(bound, bound.shared).close });
    stops.push({ part: 'succession', stop: startSuccession(bound).close });
    stops.push({ part: 'care', stop: startCare(bound).close });
    const urls = addresses(site, listeners);
    site.log.info('serving', { ...urls, tftpPort: boot.tftpPort });
    return { ...urls, tftpPort: boot.tftpPort, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** What targets and children are told, when the configuration says it; else this machine. */
function addresses(site: Site, { site: bound }: Listeners): { httpUrl: string; httpsUrl: string } {
  const { advertise } = site.config;
  return {
    httpUrl: advertise.http ?? `http://127.0.0.1:${bound.config.httpPort}`,
    httpsUrl: advertise.https ?? `https://127.0.0.1:${bound.config.httpsPort}`,
  };
}

/** Stops in reverse order, all of it, once; what fails to stop is logged and does not keep the rest running. */
function closer(site: Site, stops: Stop[]): () => Promise<void> {
  let closing: Promise<void> | undefined;
  const run = async () => {
    for (const { part, stop } of stops.splice(0).reverse()) {
      const slow = setTimeout(() => site.log.info('still stopping', { part }), SLOW_MS);
      try {
        await stop();
      } catch (error) {
        site.log.error('a part of serve did not stop cleanly', { part, error: String(error) });
      } finally {
        clearTimeout(slow);
      }
    }
  };
  return () => {
    closing ??= run();
    return closing;
  };
}
