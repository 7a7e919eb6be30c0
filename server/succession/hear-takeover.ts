import type { SignedTakeover } from '../../core/deputy.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest, Id } from '../../core/ids.ts';
import { appendEvent } from '../db/events.ts';
import { inTransaction } from '../db/open.ts';
import { getServer } from '../db/servers.ts';
import { getSetting, setSetting } from '../db/settings.ts';
import { settleCommands } from '../shared/settle-commands.ts';
import type { Site } from '../site.ts';
import { CLAIMED, type Claim, claimWords } from './claim.ts';
import { closeToServers } from './close-to-servers.ts';
import { deputyOf } from './deputy.ts';
import { enterFence, readFence } from './fence.ts';
import { believeTakeover, verifyTakeover } from './takeover.ts';

/**
 * A child says, signed, that it took our place while we were away. When we had named it our deputy, this server is fenced from now on.
 * Anybody else is written down, and nothing more: a child must not be able to stop its parent. Throws `bad_signature`, `bad_data`.
 */
export async function hearTakeover(site: Site, childId: Id, signed: SignedTakeover): Promise<{ fenced: boolean }> {
  const child = await getServer(site.db, childId);
  if (child?.caPin == null) throw new AppError('not_permitted', 'only a child says that it took our place');
  const { successor, body } = verifyTakeover(signed, child.caPin as Digest);
  if (successor !== childId || body.predecessor !== site.self.id) throw new AppError('bad_data', 'this is not about us');
  const deputy = await deputyOf(site.db, site.self.id);
  if (deputy?.serverId !== childId || deputy.caPin !== child.caPin) return noteClaim(site, { id: childId, name: child.name, at: body.at });
  await inTransaction(site.db, async (trx) => {
    await believeTakeover(site, trx, childId, body);
    await enterFence(site, trx, { id: childId, name: child.name, at: body.at });
  });
  site.log.warn('this server is fenced: its deputy took its place', { server: child.name });
  const fence = await readFence(site.db);
  if (fence !== undefined) await settleCommands(site, fence, undefined);
  await closeToServers(site);
  return { fenced: true };
}

async function noteClaim(site: Site, claim: Claim): Promise<{ fenced: boolean }> {
  const text = JSON.stringify(claim);
  await inTransaction(site.db, async (trx) => {
    if ((await getSetting(trx, CLAIMED)) === text) return;
    await setSetting(trx, CLAIMED, text);
    const data = { words: claimWords(text), server: claim.name };
    await appendEvent(trx, {
      origin: site.self.id,
      at: site.now(),
      actor: `server:${claim.id}`,
      kind: 'server.place-claimed',
      subject: claim.id,
      data,
    });
  });
  site.wake.notify('events');
  return { fenced: false };
}
