import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import { type Id, type Mac, type Name, parseMac, printable } from '../../core/ids.ts';
import type { Arch } from '../../core/image.ts';
import { appendEvent } from '../db/events.ts';
import { inTransaction } from '../db/open.ts';
import { findActiveOrder } from '../db/orders.ts';
import { deleteTarget, type Firmware, findTargetBy, findTargetsByMac, selectTargets, type Target } from '../db/targets.ts';
import type { Site } from '../site.ts';
import { referenceKinds } from './identity.ts';
import { change, noSuchTarget, reread, retried, seeWithin, type Who } from './see.ts';

/** The target with this id, name, UUID or MAC address. Errors: `not_found`; `ambiguous` when two have it, one as name. */
export async function getTarget(site: Pick<Site, 'db'>, reference: string): Promise<Target> {
  const found = new Map<Id, Target>();
  for (const kind of referenceKinds(reference)) {
    const target =
      kind === 'mac'
        ? (await findTargetsByMac(site.db, [parseMac(reference)]))[0]
        : await findTargetBy(site.db, kind, kind === 'uuid' ? reference.toLowerCase() : reference);
    if (target !== undefined) found.set(target.id, target);
  }
  const [target, second] = [...found.values()];
  if (target === undefined) throw noSuchTarget(reference);
  if (second !== undefined) {
    throw new AppError('ambiguous', `"${printable(reference)}" is the name of one target and an address of another`, {
      hint: `use the id: ${target.id} or ${second.id}`,
    });
  }
  return target;
}

export type AddedTarget = {
  readonly name: Name | null;
  readonly uuid?: string | undefined;
  readonly serial?: string | undefined;
  readonly macs: readonly Mac[];
  readonly arch?: Arch | undefined;
  readonly firmware?: Firmware | undefined;
  /** The id to give it when it is new. */
  readonly id?: Id | undefined;
};

/** Writes down a machine before it was ever seen, or names one that was. Errors: `name_taken`, `bad_data`. */
export async function addTarget(site: Who, added: AddedTarget, actor: string): Promise<Target> {
  const target = await retried(() => inTransaction(site.db, (trx) => addWithin(site, trx, added, actor)));
  site.wake.notify('events');
  return target;
}

/** As `addTarget`, in the caller's transaction. */
export async function addWithin(site: Who, trx: Knex, added: AddedTarget, actor: string): Promise<Target> {
  const { target } = await seeWithin(site, trx, { ...added, discoveredBy: 'operator' });
  if (added.name !== null) await claimName(trx, target, added.name);
  const event = { kind: 'target.added', subject: target.id, data: { name: added.name } };
  await appendEvent(trx, { origin: site.self.id, at: site.now(), actor, ...event });
  return reread(trx, target.id);
}

/** Gives a target to a group, or to none (null), in the caller's transaction. */
export async function groupWithin(site: Who, trx: Knex, target: Target, group: Target['group'], actor: string): Promise<void> {
  await change(trx, target, { group });
  const event = { kind: 'target.grouped', subject: target.id, data: { group, before: target.group } };
  await appendEvent(trx, { origin: site.self.id, at: site.now(), actor, ...event });
}

/** Gives a target to a group, or to none (null). */
export async function groupTarget(site: Who, reference: string, group: Target['group'], actor: string): Promise<Target> {
  const grouped = await retried(async () => {
    const target = await getTarget(site, reference);
    await inTransaction(site.db, (trx) => groupWithin(site, trx, target, group, actor));
    return reread(site.db, target.id);
  });
  site.wake.notify('events');
  return grouped;
}

async function claimName(trx: Knex, target: Target, name: Name): Promise<void> {
  const owner = await findTargetBy(trx, 'name', name);
  if (owner !== undefined && owner.id !== target.id) {
    throw new AppError('name_taken', `the name "${name}" belongs to target ${owner.id}`, {
      hint: 'choose another name or delete that target',
    });
  }
  if (target.name !== null && target.name !== name) {
    throw new AppError('name_taken', `this machine is already known as "${target.name}"`, {
      hint: `use that name, or delete the target first`,
    });
  }
  await change(trx, target, { name });
}

/** Forgets a target. Errors: `wrong_state` while an order for it has not ended. */
export async function removeTarget(site: Who, target: Target, actor: string): Promise<void> {
  await inTransaction(site.db, (trx) => removeWithin(site, trx, target, actor));
  site.wake.notify('events');
}

/** As `removeTarget`, in the caller's transaction. */
export async function removeWithin(site: Who, trx: Knex, target: Target, actor: string): Promise<void> {
  const active = await findActiveOrder(trx, target.id);
  if (active !== undefined) {
    throw new AppError('wrong_state', `target ${target.name ?? target.id} has an order that has not ended`, {
      hint: `stop it first: waystation order stop ${active.id}`,
    });
  }
  await deleteTarget(trx, target.id);
  const data = { name: target.name, macs: target.macs };
  await appendEvent(trx, { origin: site.self.id, at: site.now(), actor, kind: 'target.deleted', subject: target.id, data });
}

const PAGE = 100;

/** Targets in the order they became known; `next` is the `after` of the next page. */
export async function listTargets(
  site: Pick<Site, 'db'>,
  page: { readonly after?: string | undefined; readonly limit?: number | undefined } = {},
): Promise<{ readonly items: readonly Target[]; readonly next: string | null }> {
  const limit = page.limit ?? PAGE;
  const found = await selectTargets(site.db, { limit: limit + 1, ...(page.after === undefined ? {} : { after: page.after }) });
  const items = found.slice(0, limit);
  return { items, next: found.length > limit ? (items.at(-1)?.id ?? null) : null };
}
