import type { Knex } from 'knex';
import { COMMANDS, type Command, type CommandBody, type CommandKind } from '../../core/control-protocol.ts';
import { AppError, describeError, type ErrorCode } from '../../core/errors.ts';
import { type Digest, type Id, parseMac, printable } from '../../core/ids.ts';
import { lockControlMark, moveControlMark } from '../db/control-queue.ts';
import { appendEvent } from '../db/events.ts';
import { inTransaction } from '../db/open.ts';
import { routeTo } from '../db/origins.ts';
import { markChanged } from '../db/outbox.ts';
import { findTargetBy, type Target } from '../db/targets.ts';
import { putRingWish } from '../holdings/ring-wish.ts';
import { acceptOrder } from '../orders/accept.ts';
import { approveWithin } from '../orders/approve.ts';
import { stopWithin } from '../orders/orders.ts';
import type { Site } from '../site.ts';
import { keepChildrenOf } from '../succession/deputy.ts';
import { addWithin, groupWithin, removeWithin } from '../targets/manage.ts';
import { noSuchTarget } from '../targets/see.ts';
import { controlTopic, enqueue } from './dispatch.ts';
import { putLinkWish } from './link-wish.ts';
import { noteDecision } from './offers/make.ts';
import { putPolicy } from './policies.ts';

/** Not the command's fault: it is tried again. */
const TEMPORARY: readonly ErrorCode[] = ['busy', 'disk_full', 'unreachable', 'waiting'];
/** So often is a command tried that fails without words; then it is refused, so that those behind it get their turn. */
const ATTEMPTS = 5;

/**
 * Does what a server above asked, once: its effect and its number are one transaction. What cannot be done is refused in words:
 * an event that goes up like all events. Throws what may pass by itself.
 */
export async function applyCommand(site: Site, parentId: Id, command: Command): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const topics = await inTransaction(site.db, (trx) => applyOnce(site, trx, parentId, command));
      for (const topic of topics) site.wake.notify(topic);
      return;
    } catch (error) {
      const isTemporary = error instanceof AppError && TEMPORARY.includes(error.code);
      const isRefusal = error instanceof AppError && !isTemporary;
      if (isRefusal || (attempt === ATTEMPTS && !isTemporary)) return refuseCommand(site, parentId, command, error);
      if (attempt === ATTEMPTS) throw error;
      await site.wake.wait('pause', 50 * 2 ** attempt);
    }
  }
}

async function applyOnce(site: Site, trx: Knex.Transaction, parentId: Id, command: Command): Promise<readonly string[]> {
  const done = await lockControlMark(trx, parentId, 'applied');
  if (command.seq <= done) return [];
  await moveControlMark(trx, parentId, 'applied', { from: done, to: command.seq });
  if (command.dest !== site.self.id) return passOn(site, trx, command);
  return ['events', ...(await perform(site, trx, command))];
}

async function passOn(site: Site, trx: Knex.Transaction, command: Command): Promise<readonly string[]> {
  const via = await routeTo(trx, command.dest as Id);
  if (!via) throw new AppError('not_found', `server ${command.dest} is not known to server ${site.self.name}`);
  const { seq: _seq, ...rest } = command;
  await enqueue(trx, via, rest);
  return [controlTopic(via)];
}

/** Refuses a command for good: its number counts as done, and an event says why to whoever sent it. */
export async function refuseCommand(site: Site, parentId: Id, command: Command, error: unknown): Promise<void> {
  const { code, message } = describeError(error);
  const { id, kind, dest, body } = command;
  site.log.warn('a command from above is refused', { command: id, kind, code, error: message });
  const data = { command: id, kind, dest, code, words: message, ...meantBy(body) };
  await inTransaction(site.db, async (trx) => {
    const done = await lockControlMark(trx, parentId, 'applied');
    if (command.seq <= done) return;
    await moveControlMark(trx, parentId, 'applied', { from: done, to: command.seq });
    await appendEvent(trx, { origin: site.self.id, at: site.now(), actor: actorOf(command), kind: 'control.refused', subject: id, data });
  });
  site.wake.notify('events');
}

/** What a command is about, for whoever shows it as on its way. */
function meantBy(body: unknown): Record<string, string> {
  const { orderId, targetId } = (body ?? {}) as Record<string, unknown>;
  return { ...(typeof orderId === 'string' ? { orderId } : {}), ...(typeof targetId === 'string' ? { targetId } : {}) };
}

/** The server answers for what its operators do. */
function actorOf({ origin }: Command): string {
  return `server:${origin}`;
}

function parseBody<Kind extends CommandKind>(kind: Kind, body: unknown): CommandBody<Kind> {
  const parsed = COMMANDS[kind].safeParse(body);
  if (parsed.success) return parsed.data as CommandBody<Kind>;
  throw new AppError('bad_data', `the command ${kind} is not one that this release understands`, {
    hint: 'upgrade the older of the servers',
  });
}

/** Does it, and says whom to wake. */
async function perform(site: Site, trx: Knex.Transaction, command: Command): Promise<readonly string[]> {
  const { kind, body } = command;
  const actor = actorOf(command);
  switch (kind as CommandKind) {
    case 'target.add':
      return addTarget(site, trx, parseBody('target.add', body), actor);
    case 'target.group': {
      const { targetId, group } = parseBody('target.group', body);
      await groupWithin(site, trx, await targetOf(trx, targetId), group as Target['group'], actor);
      return [];
    }
    case 'target.remove':
      await removeWithin(site, trx, await targetOf(trx, parseBody('target.remove', body).targetId), actor);
      return [];
    case 'target.approve': {
      const { targetId, keyId } = parseBody('target.approve', body);
      await approveWithin(site, trx, await targetOf(trx, targetId), { keyId: keyId as Digest, actor });
      return [`target:${targetId}`];
    }
    case 'order.create': {
      const order = await acceptOrder(site, trx, parseBody('order.create', body), { managedBy: command.origin as Id, by: command.actor });
      return [`target:${order.targetId}`];
    }
    case 'order.stop':
      return [`target:${(await stopWithin(site, trx, parseBody('order.stop', body).orderId as Id, actor)).targetId}`];
    case 'offer.decided':
      await noteDecision(site, trx, parseBody('offer.decided', body), actor);
      return [];
    case 'link.put':
      await putLinkWish(site, trx, parseBody('link.put', body), { owner: command.origin as Id, actor });
      return [];
    case 'deputy.put':
      await keepChildrenOf(trx, command.origin as Id, parseBody('deputy.put', body));
      return [];
    case 'ring.put': {
      const wish = parseBody('ring.put', body);
      await putRingWish(site, trx, { ...wish, server: wish.server as Id }, { owner: command.origin as Id, actor });
      return [];
    }
    case 'setting.put':
      await putPolicy(site, trx, parseBody('setting.put', body), { owner: command.origin as Id, actor });
      return [];
    default:
      throw new AppError('version_mismatch', `this server does not know the command "${printable(kind)}"`, { hint: 'upgrade it' });
  }
}

/** A machine that is known here already keeps its id: the id that was chosen above is told to be gone. */
async function addTarget(site: Site, trx: Knex.Transaction, body: CommandBody<'target.add'>, actor: string): Promise<readonly string[]> {
  const { targetId, name, macs, group, arch, firmware, uuid, serial } = body;
  const facts = { name: name as Target['name'], uuid, serial, macs: macs.map(parseMac), arch, firmware };
  const target = await addWithin(site, trx, { ...facts, id: targetId as Id }, actor);
  if (target.id !== targetId) await markChanged(trx, 'target', targetId);
  if (group !== undefined) await groupWithin(site, trx, await targetOf(trx, target.id), group as Target['group'], actor);
  return [];
}

async function targetOf(trx: Knex, id: string): Promise<Target> {
  const target = await findTargetBy(trx, 'id', id);
  if (target === undefined) throw noSuchTarget(id);
  return target;
}
