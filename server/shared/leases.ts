import type { Knex } from 'knex';
import { AppError, describeError } from '../../core/errors.ts';
import type { Lease } from '../db/leases.ts';
import { acquireSharedLease, holdSharedLease, isSharedLeaseFree, releaseSharedLease, renewSharedLease } from '../db/shared/leases.ts';
import type { Site } from '../site.ts';
import type { Shared } from './open.ts';

/**
 * What must run once over all servers runs under a lease of the shared database. A holder that is gone is followed within
 * `LEASE_MS + LOOK_MS` and the time of a statement; one that was only stopped finds out by its fencing number, before it
 * writes anything.
 */
export const LEASE_MS = 15_000;
const RENEW_MS = 4_000;
const LOOK_MS = 8_000;

export type LeaseSite = Pick<Site, 'self' | 'wake' | 'log'>;
export type Duty = {
  readonly name: string;
  /** Called after each renewal, one at a time. What it writes in the shared database it writes with `fenced`. */
  readonly work: (lease: Lease) => Promise<void>;
  readonly signal: AbortSignal;
};

/**
 * To be called first in a transaction that acts under a lease: it fails when somebody else has taken the lease, and until it
 * ends nobody takes it. Errors: `run_in_progress`.
 */
export async function fenced(trx: Knex.Transaction, lease: Lease): Promise<void> {
  if (await holdSharedLease(trx, lease)) return;
  throw new AppError('run_in_progress', `another server does "${lease.name}" now (number ${lease.fencing} is no longer in force)`);
}

/** Does a duty whenever the lease of its name is ours, and tries to get it while it is not; gives it back in the end. */
export async function keepDuty(site: LeaseSite, shared: Shared, { name, work, signal }: Duty): Promise<void> {
  let lease: Lease | undefined;
  while (!signal.aborted) {
    try {
      const held = lease;
      const isOurs =
        held !== undefined && (await shared.write(`lease "${name}"`, (trx) => renewSharedLease(trx, held, LEASE_MS), 'repeat'));
      if (!isOurs) lease = await takeLease(shared, { name, holder: site.self.id });
      if (lease !== undefined) await work(lease);
    } catch (error) {
      const { code, message } = describeError(error);
      // Another has the lease, or our place.
      if (code === 'run_in_progress' || code === 'fenced') lease = undefined;
      // An outage is told once, where it is noticed.
      else if (shared.state().state === 'connected') site.log.warn(`${name} did not work out; it is done again`, { code, error: message });
    }
    await site.wake.wait(`shared.${name}`, lease === undefined ? LOOK_MS * (0.75 + Math.random() / 4) : RENEW_MS, signal);
  }
  await giveBack(shared, lease);
}

/** The lease, when it can be had; undefined when another server has it, which costs one row that is read. Exported for its test. */
export async function takeLease(shared: Shared, wish: { readonly name: string; readonly holder: string }): Promise<Lease | undefined> {
  if (!(await shared.read(`lease "${wish.name}"`, (db) => isSharedLeaseFree(db, wish)))) return undefined;
  // Taken again by the same holder it has a higher number: repeating is harmless.
  return shared.write(`lease "${wish.name}"`, (trx) => acquireSharedLease(trx, { ...wish, ttlMs: LEASE_MS }), 'repeat');
}

async function giveBack(shared: Shared, lease: Lease | undefined): Promise<void> {
  if (lease === undefined || shared.state().state !== 'connected') return;
  // When it fails the lease ends by itself.
  await shared.write(`lease "${lease.name}"`, (trx) => releaseSharedLease(trx, lease), 'repeat').catch(() => undefined);
}
