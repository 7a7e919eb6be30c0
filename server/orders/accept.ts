import { randomBytes } from 'node:crypto';
import type { Knex } from 'knex';
import type { OrderCommand } from '../../core/control-protocol.ts';
import type { Digest, Id } from '../../core/ids.ts';
import type { Image } from '../../core/image.ts';
import { isInScope } from '../../core/scope.ts';
import { listImageChoices } from '../db/image-choices.ts';
import { getImage } from '../db/images.ts';
import { insertDeployJob } from '../db/jobs.ts';
import { listLinks } from '../db/links.ts';
import { getObject } from '../db/objects.ts';
import { findActiveOrder, findOrder, insertIdleOrder, insertOrder, listWaitingOrders, type Order, type OrderError } from '../db/orders.ts';
import { findTargetBy } from '../db/targets.ts';
import type { Site } from '../site.ts';
import { advanceOrder, inOrderTransaction } from './advance.ts';

/** Who made an order that came from above. */
export type Maker = { readonly managedBy: Id; readonly by: string };

/**
 * Makes an order that a server above wants for a machine here, in the caller's transaction, under the id that it was given
 * there. It is never refused without a trace: one that cannot be is written down as `failed`, in words. One whose image is still on
 * its way waits as `planned` until `activateWaiting` finds it. An order that is there already is left alone.
 */
export async function acceptOrder(site: Site, trx: Knex.Transaction, command: OrderCommand, { managedBy, by }: Maker): Promise<Order> {
  const id = command.orderId as Id;
  const known = await findOrder(trx, id);
  if (known !== undefined) return known;
  const now = site.now();
  const image = await holds(trx, command);
  const refusal = (await refuseTarget(trx, command.targetId)) ?? image.refusal;
  const jobId = await insertDeployJob(trx, { origin: site.self.id, name: `deploy-${id}`, params: command.params, now });
  const rest = { imageId: command.imageId as Id, imageReference: command.reference, manifest: command.manifest as Digest };
  const order = {
    id,
    jobId,
    targetId: command.targetId as Id,
    ...rest,
    nonce: randomBytes(32).toString('hex'),
    origin: site.self.id,
    managedBy,
    now,
  };
  const how = { actor: `server:${managedBy}`, data: { by } };
  if (refusal !== undefined) {
    await insertIdleOrder(trx, order);
    return advanceOrder(site, trx, id, 'fail', { ...how, patch: { error: refusal }, data: { by, error: refusal.message } });
  }
  await insertOrder(trx, { ...order, waitsFor: image.waitsFor });
  if (image.waitsFor === undefined) return advanceOrder(site, trx, id, 'activate', how);
  return (await findOrder(trx, id)) as Order;
}

async function refuseTarget(trx: Knex, targetId: string): Promise<OrderError | undefined> {
  const target = await findTargetBy(trx, 'id', targetId);
  if (target === undefined) return { code: 'not_found', message: 'this target is not known at its server any more' };
  const active = await findActiveOrder(trx, target.id);
  if (active === undefined) return undefined;
  return {
    code: 'wrong_state',
    message: `target ${target.name ?? target.id} already has order ${active.id}, which is ${active.state}`,
    hint: `wait for it, or "order stop ${active.id}"`,
  };
}

type Holding = { readonly waitsFor?: string; readonly refusal?: OrderError };

/** Whether the image of an order can be deployed here: now (nothing is said), later, or never. */
async function holds(
  db: Knex,
  { imageId, reference, manifest }: Pick<OrderCommand, 'imageId' | 'reference' | 'manifest'>,
): Promise<Holding> {
  const image = await getImage(db, imageId as Id);
  const object = await getObject(db, imageId as Id);
  if (object?.body === null) return never(`image ${reference} was deleted`);
  if (image !== undefined && image.manifest !== manifest) return never(`image ${reference} is another one here: ${image.manifest}`);
  if (image?.state === 'published')
    return image.waiting ? { waitsFor: `image ${reference} is held here and waits for its activation` } : {};
  if (image?.state === 'known' && (await listLinks(db)).length === 0)
    return { waitsFor: `image ${reference} is not here, and this server has no parent to take it from` };
  if (image?.state === 'known' && !(await isWanted(db, image))) {
    return never(`image ${reference} is outside of the scope of what this server holds`);
  }
  if (image !== undefined && `${image.name}@${image.version}` !== reference) {
    return never(`image ${reference} cannot be used here: another image has that name`);
  }
  return { waitsFor: `image ${reference} is not here yet; it comes with a replication run` };
}

async function isWanted(db: Knex, image: Image): Promise<boolean> {
  const isChosen = (await listImageChoices(db)).some(({ imageId }) => imageId === image.id);
  return isChosen || (await listLinks(db)).some(({ scope }) => isInScope(scope, image));
}

function never(message: string): Holding {
  return { refusal: { code: 'not_found', message, hint: 'choose another image, or see "sync scope" and "image pin" there' } };
}

/** Starts the orders whose image has come, and fails those whose image will never come. */
export async function activateWaiting(site: Site): Promise<void> {
  for (const order of await listWaitingOrders(site.db)) {
    const move = async (trx: Knex.Transaction) => {
      const { waitsFor, refusal } = await holds(trx, { imageId: order.imageId, reference: order.imageReference, manifest: order.manifest });
      const actor = 'system';
      if (refusal !== undefined) {
        await advanceOrder(site, trx, order.id, 'fail', {
          actor,
          patch: { error: refusal, waitsFor: null },
          data: { error: refusal.message },
        });
      } else if (waitsFor === undefined) await advanceOrder(site, trx, order.id, 'activate', { actor, patch: { waitsFor: null } });
    };
    await inOrderTransaction(site, move, () => order.targetId);
  }
}
