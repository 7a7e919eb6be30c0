import { randomBytes } from 'node:crypto';
import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import { type Id, printable } from '../../core/ids.ts';
import { insertDeployJob } from '../db/jobs.ts';
import { findActiveOrder, findOrder, insertOrder, nextOrderId, type Order, selectOrders } from '../db/orders.ts';
import type { Site } from '../site.ts';
import { refuseFenced } from '../succession/fence.ts';
import { getTarget, type Target } from '../targets.ts';
import { advanceOrder, inOrderTransaction } from './advance.ts';
import { type DeployImage, findDeployImage } from './find-image.ts';

/** What the caller of `createOrder` gives. `disk` is a kernel name; without it the agent chooses. */
export type OrderRequest = {
  readonly targetRef: string;
  readonly imageRef: string;
  readonly actor: string;
  readonly disk?: string | undefined;
};

/**
 * Makes the order "this image on that machine" (a built-in job of one deploy task) and activates it. The image
 * reference is resolved here, once.
 *
 * Errors: `not_found` (target, image), `bad_data` (not a disk image), `does_not_fit` (architecture, firmware),
 * `wrong_state` (the target has an order that has not ended), `fenced`.
 */
export async function createOrder(site: Site, request: OrderRequest): Promise<Order> {
  await refuseFenced(site.db);
  const target = await getTarget(site, request.targetRef);
  const image = await findDeployImage(site.db, request.imageRef);
  refuseMisfit(target, image);
  const make = async (trx: Knex.Transaction): Promise<Order> => {
    await refuseSecondOrder(trx, target);
    const id = await nextOrderId(trx, site.now());
    const job = { origin: site.self.id, name: `deploy-${id}`, params: { ...image.params, disk: request.disk ?? null }, now: site.now() };
    const jobId = await insertDeployJob(trx, job);
    const rest = { imageId: image.id, imageReference: image.reference, manifest: image.manifest };
    const order = { id, jobId, targetId: target.id, ...rest, nonce: randomBytes(32).toString('hex') };
    await insertOrder(trx, { ...order, origin: site.self.id, now: site.now() });
    return advanceOrder(site, trx, id, 'activate', { actor: request.actor });
  };
  try {
    return await inOrderTransaction(site, make, (order) => order.targetId);
  } catch (error) {
    // Two requests at the same moment: the key of active_orders let one through.
    if (!(error instanceof AppError)) await refuseSecondOrder(site.db, target);
    throw error;
  }
}

/** Throws `does_not_fit` when what is known of the machine speaks against the image. */
export function refuseMisfit(target: Pick<Target, 'id' | 'name' | 'arch' | 'firmware'>, image: DeployImage): void {
  const { arch, bootType } = image.params;
  if (target.arch !== null && target.arch !== arch) {
    throw misfit(`image ${image.reference} is for ${arch}, target ${nameOf(target)} is ${target.arch}`);
  }
  if (target.firmware !== null && (bootType === 'bios' || bootType === 'uefi') && target.firmware !== bootType) {
    throw misfit(`image ${image.reference} boots with ${bootType} firmware, target ${nameOf(target)} has ${target.firmware}`);
  }
}

function misfit(message: string): AppError {
  return new AppError('does_not_fit', message, { hint: 'choose an image made for this machine' });
}

async function refuseSecondOrder(db: Knex, target: Target): Promise<void> {
  const active = await findActiveOrder(db, target.id);
  if (active === undefined) return;
  throw new AppError('wrong_state', `target ${nameOf(target)} already has order ${active.id}, which is ${active.state}`, {
    hint: `wait for it, or "order stop ${active.id}"`,
  });
}

function nameOf(target: Pick<Target, 'id' | 'name'>): string {
  return target.name ?? target.id;
}

/** One order. Errors: `not_found`. */
export async function getOrder(site: Site, id: string): Promise<Order> {
  const order = await findOrder(site.db, id);
  if (order === undefined) throw new AppError('not_found', `there is no order "${printable(id)}"`, { hint: 'see "order list"' });
  return order;
}

/** Newest first; `next` is the `before` of the following page, or null. */
export async function listOrders(
  site: Site,
  query: { targetRef?: string | undefined; before?: string | undefined; limit?: number | undefined } = {},
): Promise<{ items: Order[]; next: string | null }> {
  const limit = query.limit ?? 100;
  const targetId = query.targetRef === undefined ? undefined : (await getTarget(site, query.targetRef)).id;
  const filter = { limit: limit + 1, ...(targetId ? { targetId } : {}), ...(query.before ? { before: query.before } : {}) };
  const found = await selectOrders(site.db, filter);
  const items = found.slice(0, limit);
  return { items, next: found.length > limit ? (items.at(-1)?.id ?? null) : null };
}

/** Stops an order: at once, or by way of `cancelling` while an agent holds it. Errors: `not_found`, `wrong_state` when it ended otherwise. */
export async function stopOrder(site: Site, id: string, actor: string): Promise<Order> {
  const order = await getOrder(site, id);
  return inOrderTransaction(
    site,
    (trx) => stopWithin(site, trx, order.id, actor),
    (stopped) => stopped.targetId,
  );
}

/** As `stopOrder`, in the caller's transaction; the caller wakes the target. */
export async function stopWithin(site: Site, trx: Knex.Transaction, id: Id, actor: string): Promise<Order> {
  const stopped = await advanceOrder(site, trx, id, 'stop', { actor, patch: { waitsFor: null } });
  // The agent wrote the disk and went away with the reboot: nobody is left to let go.
  if (stopped.state !== 'cancelling' || !stopped.diskWritten) return stopped;
  return advanceOrder(site, trx, id, 'released', { actor });
}
