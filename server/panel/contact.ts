import type { ErrorCode } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import type { Site } from '../site.ts';

/**
 * Who is on the line right now. Kept in memory alone: a connection does not outlive the process that holds it. Times are epoch ms.
 */
export type Contact = {
  readonly isConnected: boolean;
  readonly heardAt: number | null;
  readonly failure: { readonly code: ErrorCode; readonly words: string; readonly since: number } | null;
};

type Held = { sockets: number; heardAt: number | null; failure: Contact['failure'] };
type ContactSite = Pick<Site, 'wake' | 'now'>;

const contacts = new WeakMap<ContactSite['wake'], Map<Id, Held>>();

function heldOf({ wake }: ContactSite, serverId: Id): Held {
  const known = contacts.get(wake) ?? new Map<Id, Held>();
  contacts.set(wake, known);
  const held = known.get(serverId) ?? { sockets: 0, heardAt: null, failure: null };
  known.set(serverId, held);
  return held;
}

/** A server below us has opened a connection; call what is returned when it closes. */
export function noteConnection(site: ContactSite, serverId: Id): () => void {
  const held = heldOf(site, serverId);
  held.sockets += 1;
  held.heardAt = site.now();
  return () => {
    held.sockets -= 1;
    held.heardAt = site.now();
  };
}

/** A server above us has answered. */
export function noteAnswer(site: ContactSite, serverId: Id): void {
  const held = heldOf(site, serverId);
  held.heardAt = site.now();
  held.failure = null;
}

/** A server above us could not be talked to, and why. An outage begins with its first failure. */
export function noteFailure(site: ContactSite, serverId: Id, { code, message }: { code: ErrorCode; message: string }): void {
  const held = heldOf(site, serverId);
  held.failure = { code, words: message, since: held.failure?.since ?? site.now() };
}

/** What we know of a server by our own connections since we are up; undefined when there was none. */
export function contactOf({ wake }: ContactSite, serverId: Id, relation: 'parent' | 'child'): Contact | undefined {
  const held = contacts.get(wake)?.get(serverId);
  if (held === undefined) return undefined;
  const isConnected = relation === 'child' ? held.sockets > 0 : held.heardAt !== null && held.failure === null;
  return { isConnected, heardAt: held.heardAt, failure: held.failure };
}
