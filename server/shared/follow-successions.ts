import { describeError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import { appendEvent } from '../db/events.ts';
import { inTransaction } from '../db/open.ts';
import { getPeer } from '../db/peers.ts';
import { getServer } from '../db/servers.ts';
import { getSetting, setSetting } from '../db/settings.ts';
import { readSharedState } from '../db/shared/servers.ts';
import { listSharedSuccessions, type SharedSuccession } from '../db/shared/successions.ts';
import type { Site } from '../site.ts';
import { believeSuccession, SUCCESSION } from '../succession/believe.ts';
import { closeToServers } from '../succession/close-to-servers.ts';
import { deputyOf } from '../succession/deputy.ts';
import { enterFence } from '../succession/fence.ts';
import type { Shared } from './open.ts';
import { takeObjects } from './take-objects.ts';

const WHAT = 'looking who was promoted';

/**
 * Looks who took whose place in the database: it is believed here, unless the configuration believes in nobody from there. When it is our
 * own place, this server is fenced from now on, also when the database is away again. False when there is one to look at again.
 */
export async function followSuccessions(site: Site, shared: Shared): Promise<boolean> {
  const { state, told } = await shared.read(WHAT, async (db) => ({
    state: await readSharedState(db, site.self.id),
    told: await listSharedSuccessions(db),
  }));
  if (!site.config.enrolThroughDatabase) return true;
  let isSettled = true;
  for (const one of told) if (!(await believe(site, shared, one))) isSettled = false;
  const own = told.find(({ predecessor }) => predecessor === site.self.id);
  const deputy = await deputyOf(site.db, site.self.id);
  if (state === 'fenced' && (deputy === undefined || deputy?.serverId === own?.successor)) await noteFence(site, own);
  return isSettled;
}

async function believe(site: Site, shared: Shared, { predecessor, successor, at, objects }: SharedSuccession): Promise<boolean> {
  const [predecessorName, successorName] = [await nameOf(site, predecessor), await nameOf(site, successor)];
  // Whose row was not seen yet is not known by a pin: the next look is soon.
  if (predecessorName === undefined || successorName === undefined) return false;
  // Who is the deputy may change.
  if (!(await mayBe(site, { predecessor, successor, successorName, predecessorName }))) return false;
  const succession = { predecessor, predecessorName, successor, successorName, ground: 'database', at, objects } as const;
  if (!(await inTransaction(site.db, (trx) => believeSuccession(site, trx, succession)))) return true;
  site.log.warn('a server was promoted', { server: successorName, insteadOf: predecessorName });
  for (const topic of ['events', SUCCESSION]) site.wake.notify(topic);
  for (const origin of [predecessor, successor]) {
    // It is heard again by itself; this is only sooner.
    if (origin !== site.self.id)
      await takeObjects(site, shared, origin).catch((error: unknown) =>
        site.log.warn('the catalogue of a server is read later', { origin, error: describeError(error).message }),
      );
  }
  return true;
}

type Places = { readonly predecessor: Id; readonly predecessorName: string; readonly successor: Id; readonly successorName: string };

/** Where a server has named its deputy, or that it has none, the database cannot say otherwise. */
async function mayBe(site: Site, { predecessor, predecessorName, successor, successorName }: Places): Promise<boolean> {
  const deputy = await deputyOf(site.db, predecessor);
  if (deputy === undefined || deputy?.serverId === successor) return true;
  const said = `place.doubted.${predecessor}`;
  if ((await getSetting(site.db, said)) === successor) return false;
  const words = `the database says that ${successorName} took the place of ${predecessorName}, which named ${deputy?.name ?? 'nobody'}: not believed`;
  const event = {
    origin: site.self.id,
    at: site.now(),
    actor: 'system',
    kind: 'server.place-doubted',
    subject: predecessor,
    data: { words },
  };
  await inTransaction(site.db, async (trx) => {
    await setSetting(trx, said, successor);
    await appendEvent(trx, event);
  });
  site.log.warn('a promotion in the shared database is not believed', { words });
  return false;
}

async function nameOf(site: Site, id: Id): Promise<string | undefined> {
  if (id === site.self.id) return site.self.name;
  return (await getPeer(site.db, id))?.name ?? (await getServer(site.db, id))?.name;
}

async function noteFence(site: Site, told: SharedSuccession | undefined): Promise<void> {
  const by = { id: told?.successor ?? null, name: told === undefined ? null : ((await nameOf(site, told.successor)) ?? told.successor) };
  if (!(await inTransaction(site.db, (trx) => enterFence(site, trx, { ...by, at: told?.at ?? site.now() })))) return;
  site.log.warn('this server is fenced: another took its place', { server: by.name });
  await closeToServers(site);
}
