import type { Knex } from 'knex';
import { type Envelope, nextRevision, signedBytes } from '../../core/envelope.ts';
import type { Id } from '../../core/ids.ts';
import { appendEvent } from '../db/events.ts';
import { setImageOrigin } from '../db/images.ts';
import { listOwnable, putObject, takeGeneration } from '../db/objects.ts';
import { inTransaction } from '../db/open.ts';
import { getPeer } from '../db/peers.ts';
import { saveSigner } from '../db/signers.ts';
import { getSuccession, nextAdoption, setAdopting } from '../db/successions.ts';
import { CATALOGUE } from '../replication/wait-for-news.ts';
import type { Site } from '../site.ts';
import { publishTakeover } from './takeover.ts';

const AT_ONCE = 200;

/** Signs anew what is still of a server whose place this one took, when all of it is here; killed in between it goes on. */
export async function adoptPending(site: Site): Promise<void> {
  const predecessor = await nextAdoption(site.db);
  if (predecessor !== null && (await hasAll(site.db, predecessor))) await adoptObjects(site, predecessor);
}

/** Whether everything that it told the others of its objects, as the master, is known here. */
async function hasAll(db: Knex, predecessor: Id): Promise<boolean> {
  const told = (await getSuccession(db, predecessor))?.objects ?? null;
  return told === null || ((await getPeer(db, predecessor))?.heldObjects ?? told) >= told;
}

/**
 * Makes the objects of a server whose place this one took its own: the same id, body and digest, deletions too, signed by this server under
 * a revision above all that the other one gave. Returns how many; repeating it adopts what came since.
 */
export async function adoptObjects(site: Site, predecessor: Id): Promise<number> {
  let adopted = 0;
  for (let more = true; more; ) {
    more = await inTransaction(site.db, async (trx) => {
      const some = await listOwnable(trx, predecessor, AT_ONCE);
      await saveSigner(trx, site.keys.signer, site.now());
      // First: whoever reads as far as an object that was signed anew has read why.
      await publishTakeover(site, trx, predecessor);
      for (const held of some) await adoptObject(site, trx, held);
      adopted += some.length;
      if (some.length === AT_ONCE) return true;
      await setAdopting(trx, predecessor, false);
      return false;
    });
    site.wake.notify(CATALOGUE);
  }
  if (adopted > 0) await note(site, predecessor, adopted);
  return adopted;
}

async function adoptObject(site: Site, trx: Knex.Transaction, held: Envelope): Promise<void> {
  const unsigned = {
    ...{ kind: held.kind, id: held.id, digest: held.digest, origin: site.self.id, keyId: site.keys.signerKeyId },
    // As after a restore: above all that were given and are not known here.
    revision: nextRevision(held.revision, Math.floor(site.now() / 1000)),
  };
  await putObject(trx, { ...unsigned, body: held.body, signature: site.keys.sign(signedBytes(unsigned)) }, await takeGeneration(trx));
  if (held.kind === 'image') await setImageOrigin(trx, held.id, site.self.id);
}

async function note(site: Site, predecessor: Id, objects: number): Promise<void> {
  const name = (await getSuccession(site.db, predecessor))?.predecessorName ?? predecessor;
  const data = { insteadOf: name, objects };
  const event = { origin: site.self.id, at: site.now(), actor: 'system', kind: 'objects.adopted', subject: predecessor, data };
  await inTransaction(site.db, (trx) => appendEvent(trx, event));
  site.log.info('objects were adopted', { insteadOf: name, objects });
  for (const topic of ['events', 'images']) site.wake.notify(topic);
}
