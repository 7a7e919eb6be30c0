import type { Knex } from 'knex';
import { AppError } from '../core/errors.ts';
import { type Id, type Mac, type Name, newId, parseMac, printable } from '../core/ids.ts';
import type { Arch } from '../core/image.ts';
import { type Boot, findBoot, insertBoot } from './db/boots.ts';
import { appendEvent } from './db/events.ts';
import { inTransaction, isUniqueViolation } from './db/open.ts';
import { findActiveOrder } from './db/orders.ts';
import {
  addMacs,
  deleteTarget,
  type Firmware,
  findTargetBy,
  findTargetsByMac,
  hasOrders,
  insertTarget,
  moveMacs,
  type Target,
  type TargetPatch,
  updateTarget,
} from './db/targets.ts';
import type { Site } from './site.ts';
import { type KnownIdentity, knownIdentity, referenceKinds, swappedUuid } from './targets/identity.ts';
import { mayBeSame, newMacs, patchFrom, type Sighting } from './targets/sighting.ts';

export type { Boot } from './db/boots.ts';
export type { Target } from './db/targets.ts';
export type { Sighting } from './targets/sighting.ts';

type Who = Pick<Site, 'db' | 'self' | 'now' | 'wake'>;

const ATTEMPTS = 5;

/**
 * The target that this machine is: by UUID, then serial number, then MAC address; what is new is written
 * down. An unknown machine becomes a target (event `target.discovered`). What makers leave in unset fields
 * identifies nobody. Throws `bad_data` when nothing usable was said.
 */
export async function seeTarget(site: Who, sighting: Sighting): Promise<Target> {
  const said = knownIdentity(sighting);
  if (said.uuid === null && said.serial === null && said.macs.length === 0) {
    throw new AppError('bad_data', 'a machine said nothing that tells it from others', {
      hint: 'it needs a MAC address, UUID or serial number',
    });
  }
  const seen = await retried(() => inTransaction(site.db, (trx) => see(site, trx, said, sighting)));
  if (seen.isNew) site.wake.notify('events');
  return seen.target;
}

type Seen = { readonly target: Target; readonly isNew: boolean };

async function see(site: Who, trx: Knex, said: KnownIdentity, sighting: Sighting): Promise<Seen> {
  const owners = await findTargetsByMac(trx, said.macs);
  const known = await findKnown(trx, said, owners);
  if (known === undefined) return { target: await discover(site, trx, said, sighting), isNew: true };
  const added = newMacs(known, said);
  const patch = patchFrom(known, said, sighting, site.now());
  if (patch === undefined && added.length === 0) return { target: known, isNew: false };
  await takeMacs(trx, known.id, added, owners);
  await change(trx, known, patch ?? {});
  return { target: await reread(trx, known.id), isNew: false };
}

async function findKnown(trx: Knex, said: KnownIdentity, owners: readonly Target[]): Promise<Target | undefined> {
  const byUuid = said.uuid === null ? undefined : await findTargetBy(trx, 'uuid', [said.uuid, swappedUuid(said.uuid)]);
  if (byUuid !== undefined) return byUuid;
  const bySerial = said.serial === null ? undefined : await findTargetBy(trx, 'serial', said.serial);
  if (bySerial !== undefined && mayBeSame(bySerial, said)) return bySerial;
  return owners.find((owner) => mayBeSame(owner, said));
}

async function discover(site: Who, trx: Knex, said: KnownIdentity, sighting: Sighting): Promise<Target> {
  const now = site.now();
  const id = newId(now);
  const owners = await findTargetsByMac(trx, said.macs);
  const owned = new Set(owners.flatMap((owner) => owner.macs));
  await insertTarget(trx, {
    id,
    name: null,
    uuid: said.uuid,
    serial: said.serial,
    macs: said.macs.filter((mac) => !owned.has(mac)),
    arch: sighting.arch ?? null,
    firmware: sighting.firmware ?? null,
    environment: sighting.environment ?? 'unknown',
    activity: (sighting.activity ?? '').slice(0, 64),
    discoveredBy: sighting.discoveredBy,
    seenAt: sighting.at ?? now,
    origin: site.self.id,
    now,
  });
  await moveMacs(
    trx,
    id,
    [...owned].filter((mac) => said.macs.includes(mac)),
  );
  if (sighting.inventory !== undefined) await updateTarget(trx, { id, revision: 1 }, { inventory: sighting.inventory });
  const data = { uuid: said.uuid, serial: said.serial, macs: said.macs, by: sighting.discoveredBy };
  await appendEvent(trx, { origin: site.self.id, at: now, actor: 'system', kind: 'target.discovered', subject: id, data });
  return reread(trx, id);
}

/**
 * Addresses go to the machine that shows them now. A target that was only ever known by such an address
 * (DHCP heard it before the boot script asked with the UUID) was this machine all along and is forgotten.
 */
async function takeMacs(trx: Knex, id: Id, macs: readonly Mac[], owners: readonly Target[]): Promise<void> {
  const owned = new Set(owners.flatMap((owner) => owner.macs));
  await moveMacs(
    trx,
    id,
    macs.filter((mac) => owned.has(mac)),
  );
  await addMacs(
    trx,
    id,
    macs.filter((mac) => !owned.has(mac)),
  );
  for (const owner of owners) {
    const isEmpty = owner.macs.every((mac) => macs.includes(mac)) && owner.uuid === null && owner.serial === null && owner.name === null;
    if (owner.id !== id && isEmpty && !(await hasOrders(trx, owner.id))) await deleteTarget(trx, owner.id);
  }
}

/** Changes what is known of a target, whatever somebody else changes meanwhile. Throws `not_found`. */
export async function noteTarget(site: Who, id: Id, patch: TargetPatch): Promise<Target> {
  return retried(async () => {
    const was = await findTargetBy(site.db, 'id', id);
    if (was === undefined) throw noSuchTarget(id);
    await change(site.db, was, patch.activity === undefined ? patch : { ...patch, activity: patch.activity.slice(0, 64) });
    return reread(site.db, id);
  });
}

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
};

/** Writes down a machine before it was ever seen, or names one that was. Errors: `name_taken`, `bad_data`. */
export async function addTarget(site: Who, added: AddedTarget, actor: string): Promise<Target> {
  const known = await seeTarget(site, { ...added, discoveredBy: 'operator' });
  const target = await inTransaction(site.db, async (trx) => {
    const was = await reread(trx, known.id);
    if (added.name !== null) await claimName(trx, was, added.name);
    const now = site.now();
    const event = { origin: site.self.id, at: now, actor, kind: 'target.added', subject: was.id, data: { name: added.name } };
    await appendEvent(trx, event);
    return reread(trx, was.id);
  });
  site.wake.notify('events');
  return target;
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
  await inTransaction(site.db, async (trx) => {
    const active = await findActiveOrder(trx, target.id);
    if (active !== undefined) {
      throw new AppError('wrong_state', `target ${target.name ?? target.id} has an order that has not ended`, {
        hint: `stop it first: waystation order stop ${active.id}`,
      });
    }
    await deleteTarget(trx, target.id);
    const data = { name: target.name, macs: target.macs };
    await appendEvent(trx, { origin: site.self.id, at: site.now(), actor, kind: 'target.deleted', subject: target.id, data });
  });
  site.wake.notify('events');
}

/** Writes down that a boot script is given out. The id is public: it names the boot, it proves nothing. */
export async function createBoot(site: Pick<Site, 'db' | 'now'>, targetId: Id, what: Boot['what']): Promise<Id> {
  const id = newId(site.now());
  await insertBoot(site.db, { id, targetId, what, createdAt: site.now() });
  return id;
}

/** The boot with this id, or undefined: an agent may say anything. */
export async function getBoot(site: Pick<Site, 'db'>, bootId: string): Promise<Boot | undefined> {
  return findBoot(site.db, bootId);
}

async function change(db: Knex, was: Target, patch: TargetPatch): Promise<void> {
  if (!(await updateTarget(db, was, patch))) throw new AppError('busy', `target ${was.id} is being changed by others`);
}

async function reread(db: Knex, id: Id): Promise<Target> {
  const target = await findTargetBy(db, 'id', id);
  if (target === undefined) throw noSuchTarget(id);
  return target;
}

/** Two packets of one machine may be written down at once: the one that comes second looks again. */
async function retried<Value>(work: () => Promise<Value>): Promise<Value> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (attempt === ATTEMPTS || !isLostRace(error)) throw error;
    }
  }
}

function isLostRace(error: unknown): boolean {
  return isUniqueViolation(error) || (error instanceof AppError && error.code === 'busy');
}

function noSuchTarget(reference: string): AppError {
  return new AppError('not_found', `there is no target "${printable(reference)}"`, { hint: 'waystation target list shows them' });
}
