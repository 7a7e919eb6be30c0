import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import { type Id, printable } from '../../core/ids.ts';
import { appendEvent } from '../db/events.ts';
import { takeNumbers } from '../db/shared/counters.ts';
import { listSharedTree, lockSharedServer, wishParent } from '../db/shared/servers.ts';
import type { Site } from '../site.ts';
import { aboveItself } from '../trust/endorse.ts';
import type { Shared } from './open.ts';
import { sharedOf } from './shared-of.ts';

export type TreeServer = Awaited<ReturnType<typeof listSharedTree>>[number];

/** `parent` null: none. `revision` counts the wishes for this server. */
export type ParentSet = { readonly server: string; readonly parent: string | null; readonly revision: number; readonly changed: boolean };

const WHAT = 'setting the parent of a server';

/**
 * Wishes a parent for a server of the shared database; both may be any of them. The server takes it up by itself. Asking for
 * what is wished already changes nothing.
 *
 * Errors: `wrong_state` (no shared database; a circle; itself; one of them left), `not_found`, `not_permitted` (a file says it),
 * `unreachable`.
 */
export async function setParent(
  site: Site,
  { server, parent, actor }: { readonly server: string; readonly parent: string | null; readonly actor: string },
): Promise<ParentSet> {
  const shared: Shared = sharedOf(site);
  const done = await shared.write(WHAT, (trx) => wish(trx, server, parent), 'repeat');
  if (done.changed) {
    const data = { server: done.server, parent: done.parent };
    const event = { origin: site.self.id, at: site.now(), actor, kind: 'server.parent-set', subject: done.id, data };
    await appendEvent(site.db, event);
    site.wake.notify('events');
  }
  const { id: _id, ...told } = done;
  return told;
}

async function wish(trx: Knex.Transaction, reference: string, parentRef: string | null): Promise<ParentSet & { readonly id: Id }> {
  await lockTree(trx);
  const tree = await listSharedTree(trx);
  const server = present(tree, reference);
  const parent = parentRef === null ? undefined : present(tree, parentRef);
  if (server.parentBy === 'file') throw managedByFile(server);
  if (parent !== undefined) refuseCircle(tree, server, parent);
  const told = { id: server.id, server: server.name, parent: parent?.name ?? null };
  const isWished = server.parentRevision > 0 && server.parentId === (parent?.id ?? null);
  if (isWished) return { ...told, revision: server.parentRevision, changed: false };
  const { id } = server;
  // The server itself may write its enrolment between our look and now.
  const revision = (await lockSharedServer(trx, id)) ?? 0;
  if (!(await wishParent(trx, id, { parentId: parent?.id ?? null, file: null, revision })))
    throw new AppError('busy', `server ${server.name} was changed by somebody else at the same time`, { hint: 'look at it and ask again' });
  return { ...told, revision: server.parentRevision + 1, changed: true };
}

/** Two that change the tree at the same time could make a circle of it: the second one waits, or is asked to begin again. */
export async function lockTree(trx: Knex.Transaction): Promise<void> {
  await takeNumbers(trx, 'tree', 1);
}

/** The active server of this name or id. Throws `not_found`, `wrong_state`. */
export function present(tree: readonly TreeServer[], reference: string): TreeServer {
  const found = tree.find(({ name, id }) => name === reference || id === reference);
  if (found === undefined)
    throw new AppError('not_found', `no server "${printable(reference)}" meets others in the database`, { hint: 'waystation server list' });
  if (found.state === 'active') return found;
  throw new AppError('wrong_state', `server ${found.name} is ${found.state}`, { hint: 'choose one that is active' });
}

function refuseCircle(tree: readonly TreeServer[], server: TreeServer, parent: TreeServer): void {
  if (server.id === parent.id)
    throw new AppError('wrong_state', `server ${server.name} cannot be its own parent`, { hint: 'choose another parent, or none' });
  const byId = new Map(tree.map((one) => [one.id, one]));
  for (let above: TreeServer | undefined = parent, steps = 0; above !== undefined && steps <= tree.length; steps++) {
    if (above.id === server.id) throw aboveItself(server.id);
    above = above.parentId === null ? undefined : byId.get(above.parentId);
  }
}

function managedByFile({ name, parentFile }: TreeServer): AppError {
  return new AppError('not_permitted', `the parent of server ${name} is what ${parentFile ?? 'a file'} says`, {
    hint: 'change it there and apply it: waystation site apply FILE',
  });
}
