import { appendEvent } from '../db/events.ts';
import type { Lease } from '../db/leases.ts';
import { inTransaction } from '../db/open.ts';
import { listHeardAgain, listNewlySilent, noteSilence, type Silence } from '../db/shared/servers.ts';
import { tidyShared } from '../db/shared/tidy.ts';
import type { Site } from '../site.ts';
import { SILENT_MS } from './heartbeat.ts';
import { fenced, keepDuty } from './leases.ts';
import type { Shared } from './open.ts';

/** What one server does for all of them. */
const CHORES = 'chores';
const TIDY_EVERY_MS = 600_000;
/** Events are kept where they happened, and where they were read; here they are on their way. */
const KEEP_EVENTS_MS = 90 * 86_400_000;

/** Tells of servers that fall silent and are heard again, each once, and tidies the shared tables. */
export function keepChores(site: Site, shared: Shared, signal: AbortSignal): Promise<void> {
  let tidiedAt = Number.NEGATIVE_INFINITY;
  const work = async (lease: Lease) => {
    // After an outage of the database everybody seems silent; whoever lives has beaten within this time.
    if (shared.connectedMs() > SILENT_MS) await tellSilence(site, shared, lease);
    if (performance.now() - tidiedAt < TIDY_EVERY_MS) return;
    tidiedAt = performance.now();
    await tidy(shared, lease);
  };
  return keepDuty(site, shared, { name: CHORES, work, signal });
}

/** Exported for its test. */
export async function tellSilence(site: Site, shared: Shared, lease: Lease): Promise<void> {
  const found = await shared.read('silent servers', async (db) => ({
    silent: await listNewlySilent(db, SILENT_MS),
    heard: await listHeardAgain(db),
  }));
  for (const one of found.silent) await tell(site, shared, { one, lease, isSilent: true });
  for (const one of found.heard) await tell(site, shared, { one, lease, isSilent: false });
}

type News = { readonly one: Silence; readonly lease: Lease; readonly isSilent: boolean };

/** It is noted for all servers first, and then told by this one: so it is told once. */
async function tell(site: Site, shared: Shared, { one, lease, isSilent }: News): Promise<void> {
  const note = await shared.write(
    'silent servers',
    async (trx) => {
      await fenced(trx, lease);
      return noteSilence(trx, one, isSilent);
    },
    // Noted and not told would be worse than told twice.
    async () => true,
  );
  if (!note) return;
  const at = site.now();
  const data = { name: one.name, heardAt: new Date(one.heartbeatAt).toISOString() };
  const kind = isSilent ? 'server.silent' : 'server.heard-again';
  await inTransaction(site.db, (trx) => appendEvent(trx, { origin: site.self.id, at, actor: 'system', kind, subject: one.id, data }));
  site.log[isSilent ? 'warn' : 'info'](isSilent ? 'a server is silent' : 'a server is heard again', { server: one.id, ...data });
  site.wake.notify('events');
}

async function tidy(shared: Shared, lease: Lease): Promise<void> {
  let gone = 0;
  do {
    gone = await shared.write(
      'tidying the shared tables',
      async (trx) => {
        await fenced(trx, lease);
        return tidyShared(trx, KEEP_EVENTS_MS);
      },
      'repeat',
    );
  } while (gone > 0);
}
