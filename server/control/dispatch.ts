import type { Knex } from 'knex';
import type { Json } from '../../core/canonical-json.ts';
import type { Command, CommandBody, CommandKind } from '../../core/control-protocol.ts';
import { AppError } from '../../core/errors.ts';
import { type Id, newId } from '../../core/ids.ts';
import { appendCommand, countCommands } from '../db/control-queue.ts';
import { inTransaction } from '../db/open.ts';
import type { Site } from '../site.ts';
import { refuseFenced } from '../succession/fence.ts';
import type { ServerBelow } from './servers-below.ts';

/** What may wait for one child that does not answer. */
const MOST_WAITING = 10_000;

/** The topic that says that there is a command for another server, whoever carries it. */
export const COMMANDS = 'commands';

/** The topic of a child's long poll. */
export function controlTopic(childId: Id): string {
  return `control:${childId}`;
}

export type Order<Kind extends CommandKind> = { readonly kind: Kind; readonly body: CommandBody<Kind>; readonly actor: string };

/**
 * Puts a command for a server below into the queue of the child by which it is reached, in one transaction with `also`
 * (what is kept of it here), and wakes the child's poll. Errors: `busy` when too much waits for that child, `fenced`.
 */
export async function dispatch<Kind extends CommandKind>(
  site: Site,
  to: ServerBelow,
  order: Order<Kind>,
  also: (trx: Knex.Transaction) => Promise<void> = async () => undefined,
): Promise<void> {
  await inTransaction(site.db, async (trx) => {
    await dispatchWithin(site, trx, to, order);
    await also(trx);
  });
  site.wake.notify(controlTopic(to.via));
  site.wake.notify(COMMANDS);
}

/** As `dispatch`, in the caller's transaction; the caller wakes `controlTopic(to.via)`. */
export async function dispatchWithin<Kind extends CommandKind>(
  site: Site,
  trx: Knex.Transaction,
  to: ServerBelow,
  { kind, body, actor }: Order<Kind>,
): Promise<void> {
  const now = site.now();
  await enqueue(trx, to.via, { id: newId(now), dest: to.id, origin: site.self.id, kind, body: body as Json, actor, createdAt: now });
}

/** Appends to a child's queue, in the caller's transaction. */
export async function enqueue(trx: Knex.Transaction, childId: Id, command: Omit<Command, 'seq'>): Promise<void> {
  await refuseFenced(trx);
  if ((await countCommands(trx, childId)) >= MOST_WAITING) {
    throw new AppError('busy', `${MOST_WAITING} commands wait for server ${childId} already`, {
      hint: 'see when it was last heard of: server list',
    });
  }
  await appendCommand(trx, childId, command);
}
