import type { Knex } from 'knex';
import type { Digest } from '../../core/ids.ts';
import type { Image, ImageError } from '../../core/image.ts';
import { expireEnrolTokens } from '../db/enrol-tokens.ts';
import { appendEvent, newestEvent } from '../db/events.ts';
import { listImages, moveImageState, setImageError } from '../db/images.ts';
import { freeLeases } from '../db/leases.ts';
import { inTransaction } from '../db/open.ts';
import { listActiveOrders } from '../db/orders.ts';
import { raiseOutbox } from '../db/outbox.ts';
import { failUnfinishedRuns } from '../db/runs.ts';
import { setSetting } from '../db/settings.ts';
import { raiseEpoch } from '../epoch.ts';
import { RESTORED } from '../images/lost-versions.ts';
import { advanceOrder } from '../orders/advance.ts';
import type { Site } from '../site.ts';

/** What being set back came to. */
export type Rewound = {
  readonly epoch: number;
  readonly generation: number;
  /** Images whose content was whole when the backup was made, and is not here now. */
  readonly notHeld: readonly Image[];
  /** Orders that were active: they are ended, nobody knows what became of them. */
  readonly orders: number;
  readonly enrolTokens: number;
  readonly runs: number;
};

const ACTOR = 'restore';

/**
 * Makes a server that woke up in the past fit for the present, in one transaction: children believe it again (a new epoch), nothing
 * that was under way goes on as if nothing had happened, and what is not here is shown as not held.
 */
export function rewind(site: Site, backup: { readonly createdAt: string; readonly whole: ReadonlySet<Digest> }): Promise<Rewound> {
  const { createdAt, whole } = backup;
  return inTransaction(site.db, async (trx) => {
    const within: Site = { ...site, db: trx };
    const events = await newestEvent(trx, site.self.id);
    const { epoch, generation } = await raiseEpoch(within, ACTOR);
    const notHeld = await noteMissing(trx, whole);
    const orders = await endOrders(within, trx, createdAt);
    const at = site.now();
    const runs = await failUnfinishedRuns(trx, { error: restoredError(createdAt), at });
    await freeLeases(trx);
    await raiseOutbox(trx, epoch);
    const enrolTokens = await expireEnrolTokens(trx, at);
    await setSetting(trx, RESTORED, JSON.stringify({ at, backupAt: createdAt, epoch, events }));
    const lists = { notHeld: notHeld.slice(0, MOST_NAMED).map(({ name, version }) => `${name}@${version}`) };
    const data = { backup: createdAt, epoch, images: notHeld.length, ...lists, orders, enrolTokens, runs };
    await appendEvent(trx, { origin: site.self.id, at, actor: ACTOR, kind: 'server.restored', subject: site.self.id, data });
    return { epoch, generation, notHeld, orders, enrolTokens, runs };
  });
}

/** As many as an event names; the number is of all. */
const MOST_NAMED = 50;

async function noteMissing(trx: Knex.Transaction, whole: ReadonlySet<Digest>): Promise<readonly Image[]> {
  const missing = (await listImages(trx)).filter(({ state, manifest }) => state === 'published' && !whole.has(manifest));
  for (const { id } of missing) {
    await moveImageState(trx, id, { from: 'published', to: 'known' });
    await setImageError(trx, id, notRestored());
  }
  return missing;
}

/** Why an image of a restored server is not held. */
function notRestored(): ImageError {
  return {
    code: 'not_found',
    message: 'its content was not in the backup from which this server was restored',
    hint: 'it is fetched again from the parent, or from a server below that holds it; or load an archive made there: archive create',
  };
}

/** A machine may have been installed since, and be in use: it is not installed again because a backup says so. */
async function endOrders(site: Site, trx: Knex.Transaction, createdAt: string): Promise<number> {
  const orders = await listActiveOrders(trx);
  const error = restoredError(createdAt);
  for (const { id } of orders)
    await advanceOrder(site, trx, id, 'fail', { actor: ACTOR, patch: { error, waitsFor: null }, data: { error: error.message } });
  return orders.length;
}

function restoredError(createdAt: string) {
  return {
    code: 'failed',
    message: `this server was restored from a backup of ${createdAt}: what became of it afterwards is not known here`,
    hint: 'look at the machine, and repeat it if it is still wanted',
  } as const;
}
