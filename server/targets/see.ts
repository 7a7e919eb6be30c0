import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import { type Id, type Mac, newId, printable } from '../../core/ids.ts';
import { appendEvent } from '../db/events.ts';
import { inTransaction, isUniqueViolation } from '../db/open.ts';
import {
  addMacs,
  countDiscovered,
  deleteTarget,
  findTargetBy,
  findTargetsByMac,
  hasOrders,
  insertTarget,
  moveMacs,
  type Target,
  type TargetPatch,
  updateTarget,
} from '../db/targets.ts';
import type { Site } from '../site.ts';
import { type KnownIdentity, knownIdentity, swappedUuid } from './identity.ts';
import { mayBeSame, newMacs, patchFrom, type Sighting } from './sighting.ts';

export type Who = Pick<Site, 'db' | 'self' | 'now' | 'wake'>;

const ATTEMPTS = 5;
/** Machines written down in one minute because they were seen; strangers can claim any number of addresses. */
const DISCOVERED_A_MINUTE = 600;

/**
 * The target that this machine is: by UUID, then serial number, then MAC address; what is new is written
 * down. An unknown machine becomes a target (event `target.discovered`). What makers leave in unset fields
 * identifies nobody. Throws `bad_data` when nothing usable was said, `not_permitted` for one of too many unknown machines at a time.
 */
export async function seeTarget(site: Who, sighting: Sighting): Promise<Target> {
  const seen = await retried(() => inTransaction(site.db, (trx) => seeWithin(site, trx, sighting)));
  if (seen.isNew) site.wake.notify('events');
  return seen.target;
}

/** As `seeTarget`, in the transaction of a larger change. */
export async function seeWithin(site: Who, trx: Knex, sighting: Sighting): Promise<Seen> {
  const said = knownIdentity(sighting);
  if (said.uuid === null && said.serial === null && said.macs.length === 0) {
    throw new AppError('bad_data', 'a machine said nothing that tells it from others', {
      hint: 'it needs a MAC address, UUID or serial number',
    });
  }
  return see(site, trx, said, sighting);
}

export type Seen = { readonly target: Target; readonly isNew: boolean };

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
  if (sighting.discoveredBy !== 'operator' && (await countDiscovered(trx, now - 60_000)) >= DISCOVERED_A_MINUTE) throw tooMany();
  const id = sighting.id ?? newId(now);
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

function tooMany(): AppError {
  return new AppError(
    'not_permitted',
    `more than ${DISCOVERED_A_MINUTE} unknown machines were seen within a minute; this one is not written down`,
    {
      hint: 'it is when it starts again later; if there are not so many new machines, look for a stranger on the network',
    },
  );
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
  const noted = await retried(async () => {
    const was = await findTargetBy(site.db, 'id', id);
    if (was === undefined) throw noSuchTarget(id);
    await change(site.db, was, patch.activity === undefined ? patch : { ...patch, activity: patch.activity.slice(0, 64) });
    return reread(site.db, id);
  });
  site.wake.notify('events');
  return noted;
}

/** Throws `busy` when somebody else changed the target since it was read. */
export async function change(db: Knex, was: Target, patch: TargetPatch): Promise<void> {
  if (!(await updateTarget(db, was, patch))) throw new AppError('busy', `target ${was.id} is being changed by others`);
}

/** The target with this id as it is now. Throws `not_found`. */
export async function reread(db: Knex, id: Id): Promise<Target> {
  const target = await findTargetBy(db, 'id', id);
  if (target === undefined) throw noSuchTarget(id);
  return target;
}

/** Two packets of one machine may be written down at once: the one that comes second looks again. */
export async function retried<Value>(work: () => Promise<Value>): Promise<Value> {
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

export function noSuchTarget(reference: string): AppError {
  return new AppError('not_found', `there is no target "${printable(reference)}"`, { hint: 'waystation target list shows them' });
}
