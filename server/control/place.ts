import type { Json } from '../../core/canonical-json.ts';
import type { OrderReport } from '../../core/control-protocol.ts';
import { AppError } from '../../core/errors.ts';
import { type Digest, type Id, type Mac, type Name, newId } from '../../core/ids.ts';
import { isOrderEnded, type OrderState } from '../../core/order.ts';
import { appendEvent } from '../db/events.ts';
import { inTransaction } from '../db/open.ts';
import { routeTo } from '../db/origins.ts';
import { getReported, putReported, replaceWords } from '../db/reported.ts';
import { approveAgent } from '../orders/approve.ts';
import { findImageToSend } from '../orders/find-image.ts';
import { createOrder, refuseMisfit, stopOrder } from '../orders/orders.ts';
import { type OrderView, viewOrder } from '../orders/view.ts';
import type { Site } from '../site.ts';
import { type TargetView, viewTarget } from '../targets/view.ts';
import { type AddedTarget, addTarget, groupTarget, removeTarget } from '../targets.ts';
import { dispatch } from './dispatch.ts';
import { checkPolicy, listPolicies, putPolicy } from './policies.ts';
import { refuseKnown } from './refuse-known.ts';
import { findServerBelow, type ServerBelow, serverName } from './servers-below.ts';
import { type Below, locateOrder, locateTarget } from './things-below.ts';

/**
 * What operators ask of this server for machines that may live here or below. Here it is done at once; below it is sent on its
 * way, and the copy that is shown says so until the server that owns it has spoken.
 */

/** The server below that owns a thing, and how it is reached. Throws `wrong_state` when its way was revoked. */
async function ownerOf(site: Site, { origin }: Below<unknown>): Promise<ServerBelow> {
  const via = await routeTo(site.db, origin);
  const name = await serverName(site.db, origin);
  if (via) return { id: origin, via, name };
  throw new AppError('wrong_state', `server ${name} is not reached by any child of this server any more`, {
    hint: 'waystation server list',
  });
}

export type OrderWish = {
  readonly targetRef: string;
  readonly imageRef: string;
  readonly disk?: string | undefined;
  readonly actor: string;
};

/** Deploys an image to a target, here or below. The image is resolved here. Errors: those of `createOrder`. */
export async function placeOrder(site: Site, wish: OrderWish): Promise<OrderView> {
  const located = await locateTarget(site, wish.targetRef);
  if (located.where === 'here') return viewOrder(site, await createOrder(site, { ...wish, targetRef: located.target.id }));
  const target = located.below.view;
  const owner = await ownerOf(site, located.below);
  const image = await findImageToSend(site.db, wish.imageRef);
  refuseMisfit(target, image);
  const now = site.now();
  const orderId = newId(now);
  const report = onItsWay(site, { orderId, target, image, owner, now });
  const params = { ...image.params, disk: wish.disk ?? null };
  const body = { orderId, targetId: target.id, imageId: image.id, reference: image.reference, manifest: image.manifest, params };
  await dispatch(site, owner, { kind: 'order.create', body, actor: wish.actor }, async (trx) => {
    await putReported(trx, { origin: owner.id, kind: 'order', subject: orderId, seq: 0, body: report as Json, at: now });
    const data = { server: owner.name, target: target.id, image: image.reference };
    await appendEvent(trx, { origin: site.self.id, at: now, actor: wish.actor, kind: 'order.sent', subject: orderId, data });
  });
  site.wake.notify('events');
  return { ...report, server: owner.name } as unknown as OrderView;
}

type Sent = {
  readonly orderId: Id;
  readonly target: TargetView;
  readonly image: { readonly reference: string; readonly manifest: Digest };
  readonly owner: ServerBelow;
  readonly now: number;
};

function onItsWay(site: Site, { orderId, target, image, owner, now }: Sent): OrderReport {
  const at = new Date(now).toISOString();
  return {
    ...{ id: orderId, state: 'planned', target: target.name ?? target.id, targetId: target.id },
    ...{ image: image.reference, manifest: image.manifest, progress: null, error: null, figures: null },
    ...{ diskWritten: false, silentSince: null, managedBy: site.self.id, note: `on its way to server ${owner.name}` },
    ...{ revision: 0, createdAt: at, updatedAt: at, endedAt: null },
  };
}

/** Stops an order, here or below. Errors: `not_found`, `wrong_state` when it ended otherwise. */
export async function haltOrder(site: Site, id: string, actor: string): Promise<OrderView> {
  const located = await locateOrder(site, id);
  if (located.where === 'here') return viewOrder(site, await stopOrder(site, id, actor));
  const { view } = located.below;
  if (view.state !== 'stopped' && isOrderEnded(view.state as OrderState)) {
    throw new AppError('wrong_state', `order ${id} is ${view.state}: "stop" is not possible`, { hint: 'see "order show"' });
  }
  const owner = await ownerOf(site, located.below);
  const note = `the stop is on its way to server ${owner.name}`;
  await dispatch(site, owner, { kind: 'order.stop', body: { orderId: view.id }, actor }, async (trx) => {
    const row = await getReported(trx, { origin: owner.id, kind: 'order', subject: view.id });
    if (row !== undefined) await putReported(trx, { ...row, body: { ...(row.body as Record<string, Json>), note } });
  });
  return { ...view, note };
}

/** Writes a target down, here or at a server below. Errors: those of `addTarget`; `not_found` for the server, `name_taken` by what it told. */
export async function placeTarget(
  site: Site,
  added: AddedTarget,
  { server, actor }: { server?: string | undefined; actor: string },
): Promise<TargetView> {
  if (server === undefined || server === site.self.name || server === site.self.id)
    return viewTarget(site, await addTarget(site, added, actor));
  const owner = await findServerBelow(site.db, server);
  await refuseKnown(site.db, owner, added);
  const now = site.now();
  const targetId = newId(now);
  const { id: _id, ...facts } = added;
  const view = expectedTarget({ id: targetId, facts, owner, now });
  await dispatch(site, owner, { kind: 'target.add', body: { ...facts, macs: [...facts.macs], targetId }, actor }, async (trx) => {
    const { server: _server, ...report } = view;
    await putReported(trx, { origin: owner.id, kind: 'target', subject: targetId, seq: 0, body: report as unknown as Json, at: now });
    await replaceWords(
      trx,
      owner.id,
      targetId,
      [added.name, added.uuid?.toLowerCase() ?? null, ...added.macs].filter((word) => word !== null),
    );
  });
  return view;
}

function expectedTarget(from: { id: Id; facts: Omit<AddedTarget, 'id'>; owner: ServerBelow; now: number }): TargetView {
  const { facts, owner } = from;
  return {
    ...{ id: from.id, name: facts.name as Name | null, group: null, uuid: facts.uuid ?? null, serial: facts.serial ?? null },
    ...{ macs: [...facts.macs] as Mac[], arch: facts.arch ?? null, firmware: facts.firmware ?? null, environment: 'unknown' },
    ...{ activity: 'on its way to its server', discoveredBy: 'operator', createdAt: new Date(from.now).toISOString(), seenAt: null },
    ...{ inventory: null, order: null, agent: null, server: owner.name },
  };
}

/** Gives a target to a group (null: to none), here or below. */
export async function regroupTarget(site: Site, reference: string, group: Name | null, actor: string): Promise<TargetView> {
  const located = await locateTarget(site, reference);
  if (located.where === 'here') return viewTarget(site, await groupTarget(site, located.target.id, group, actor));
  const { view } = located.below;
  await dispatch(site, await ownerOf(site, located.below), { kind: 'target.group', body: { targetId: view.id, group }, actor });
  return { ...view, group };
}

/** Forgets a target, here or below. Errors: `wrong_state` while an order of it has not ended. */
export async function forgetTarget(site: Site, reference: string, actor: string): Promise<TargetView> {
  const located = await locateTarget(site, reference);
  if (located.where === 'here') {
    const view = await viewTarget(site, located.target);
    await removeTarget(site, located.target, actor);
    return view;
  }
  const { view } = located.below;
  await dispatch(site, await ownerOf(site, located.below), { kind: 'target.remove', body: { targetId: view.id }, actor });
  return view;
}

/** Lets the agent key that waits speak for its machine, here or below. */
export async function approveAnywhere(
  site: Site,
  reference: string,
  keyId: Digest,
  actor: string,
): Promise<{ targetId: string; keyId: string }> {
  const located = await locateTarget(site, reference);
  if (located.where === 'here') return approveAgent(site, located.target.id, keyId, actor);
  const { view } = located.below;
  await dispatch(site, await ownerOf(site, located.below), { kind: 'target.approve', body: { targetId: view.id, keyId }, actor });
  return { targetId: view.id, keyId };
}

/** Sets a policy of this server or of one below; null gives it back to that server's own configuration. */
export async function setPolicy(
  site: Site,
  server: string,
  setting: { key: string; value: string | null },
  actor: string,
): Promise<Record<string, unknown>> {
  const { key, value } = checkPolicy(setting);
  if (server === site.self.name || server === site.self.id) {
    await inTransaction(site.db, (trx) => putPolicy(site, trx, setting, { owner: site.self.id, actor }));
    site.wake.notify('events');
    return { server: site.self.name, settings: await listPolicies(site), note: null };
  }
  const owner = await findServerBelow(site.db, server);
  await dispatch(site, owner, { kind: 'setting.put', body: { key, value }, actor }, async (trx) => {
    const data = { server: owner.name, key, value };
    await appendEvent(trx, { origin: site.self.id, at: site.now(), actor, kind: 'setting.sent', subject: owner.id, data });
  });
  return { server: owner.name, settings: { [key]: { value, from: site.self.name } }, note: `on its way to server ${owner.name}` };
}
