import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import { type Id, type Name, printable } from '../../core/ids.ts';
import { appendEvent } from '../db/events.ts';
import { takeNumbers } from '../db/shared/counters.ts';
import { listSharedTree, lockSharedServer, setSharedState, wishParent } from '../db/shared/servers.ts';
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
  const parent = parentRef === null ? undefined : present(tree, parentRef);
  const back =
    parent === undefined
      ? undefined
      : tree.find(({ name, id, state }) => state === 'fenced' && [name, id].includes(reference as Name & Id));
  const server = back ?? present(tree, reference);
  if (server.parentBy === 'file') throw managedByFile(server);
  if (parent !== undefined) refuseCircle(tree, server, parent);
  const told = { id: server.id, server: server.name, parent: parent?.name ?? null };
  // A server that was fenced comes back as somebody's child, and no other way.
  if (back !== undefined) await setSharedState(trx, back.id, { from: 'fenced', to: 'active' });
  const isWished = back === undefined && server.parentRevision > 0 && server.parentId === (parent?.id ?? null);
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

type Named = Pick<TreeServer, 'id' | 'name'>;

/** The server of this name or id, whatever became of it. Throws `not_found`. */
export function registered<Server extends Named>(tree: readonly Server[], reference: string): Server {
  const found = tree.find(({ name, id }) => name === reference || id === reference);
  if (found !== undefined) return found;
  throw new AppError('not_found', `no server "${printable(reference)}" meets others in the database`, { hint: 'waystation server list' });
}

/** The active server of this name or id. Throws `not_found`, `wrong_state`. */
export function present<Server extends Named & Pick<TreeServer, 'state'>>(tree: readonly Server[], reference: string): Server {
  const found = registered(tree, reference);
  if (found.state === 'active') return found;
  const hint =
    found.state === 'fenced' ? `it comes back as a child: server parent set ${found.name} --parent SERVER` : 'choose one that is active';
  throw new AppError('wrong_state', `server ${found.name} is ${found.state}`, { hint });
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
