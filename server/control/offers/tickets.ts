import type { Duplex } from 'node:stream';
import { AppError } from '../../../core/errors.ts';
import type { Id } from '../../../core/ids.ts';
import type { Site } from '../../site.ts';

export type Arrived = { readonly link: Duplex; readonly head: Buffer };
type Waiting = { readonly via: Id; readonly settle: (arrived: Arrived) => void };

const ARRIVES_WITHIN_MS = 30_000;
const tickets = new WeakMap<Site['wake'], Map<string, Waiting>>();

function ticketsOf(site: Pick<Site, 'wake'>): Map<string, Waiting> {
  const known = tickets.get(site.wake) ?? new Map<string, Waiting>();
  tickets.set(site.wake, known);
  return known;
}

/** A ticket for one connection that a child is to open towards us. `arrived` rejects with `unreachable` after 30 s. */
export function issueTicket(
  site: Site,
  via: Id,
  ticket: Id,
): { readonly ticket: Id; readonly arrived: Promise<Arrived>; readonly revoke: () => void } {
  const { promise, resolve, reject } = Promise.withResolvers<Arrived>();
  const timer = setTimeout(
    () => reject(new AppError('unreachable', 'the offering server opened no connection for its content')),
    ARRIVES_WITHIN_MS,
  );
  // Whoever waits is told; when nobody does any more, nobody need be.
  promise.catch(() => undefined);
  ticketsOf(site).set(ticket, { via, settle: resolve });
  const revoke = () => {
    clearTimeout(timer);
    ticketsOf(site).delete(ticket);
  };
  return { ticket, arrived: promise, revoke };
}

/** Whether a child may use this ticket. */
export function isTicketOf(site: Site, childId: Id, ticket: string): boolean {
  return ticketsOf(site).get(ticket)?.via === childId;
}

/** Hands a connection to who waits for it; once. */
export function redeemTicket(site: Site, childId: Id, ticket: string, arrived: Arrived): boolean {
  const waiting = ticketsOf(site).get(ticket);
  if (waiting?.via !== childId) return false;
  ticketsOf(site).delete(ticket);
  waiting.settle(arrived);
  return true;
}
