import { Command } from '../../core/control-protocol.ts';
import { AppError, describeError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import { applyCommand } from '../control/apply.ts';
import { acknowledge } from '../control/pulled.ts';
import { getControlMark, listCommands, listControlMarks, listWaitingPeers } from '../db/control-queue.ts';
import { firstNumberOf } from '../db/objects.ts';
import { getPeer } from '../db/peers.ts';
import { dropSent, listDone, listSentKeys, listSentTo, noteDone, replaceSent, type SentCommand } from '../db/shared/commands.ts';
import { listSharedSigners } from '../db/shared/objects.ts';
import type { Site } from '../site.ts';
import { commandBytes, verifyCommand } from '../trust/signatures.ts';
import { trustedSigner } from '../trust/trusted-signer.ts';
import type { Shared } from './open.ts';
import { refuseStranger } from './refuse-stranger.ts';

const SENDING = 'sending commands to other servers';
const TAKING = 'taking commands of other servers';

/** So many commands of one server for another lie in the database; the rest follows when they are done. */
const MOST_AT_ONCE = 100;

/**
 * Puts what waits here for servers of the shared database into it. A command stays in our own queue until its receiver has said
 * that it is done: what a database loses is put there again, and what it says twice is done once.
 */
export async function sendCommands(site: Site, shared: Shared): Promise<void> {
  const waiting = await listWaitingPeers(site.db);
  if (waiting.length === 0) return;
  const done = await shared.read(SENDING, (db) => listDone(db, site.self.id, waiting));
  for (const receiver of waiting) {
    if ((await getPeer(site.db, receiver))?.state !== 'active') continue;
    const upTo = done.get(receiver);
    if (upTo !== undefined && upTo <= mostDone(site)) await acknowledge(site, receiver, upTo);
    await sendTo(site, shared, receiver);
  }
}

/** No server counts beyond the numbers of an epoch that begins tomorrow. Our own would go on above whatever is believed here, up to where there are none. */
function mostDone(site: Site): number {
  return firstNumberOf(Math.floor(site.now() / 1000) + 86_400);
}

async function sendTo(site: Site, shared: Shared, receiver: Id): Promise<void> {
  const way = { sender: site.self.id, receiver };
  const commands = await listCommands(site.db, receiver, 0, MOST_AT_ONCE);
  const there = new Map((await shared.read(SENDING, (db) => listSentKeys(db, way))).map((key) => [key.seq, key]));
  const wanted = commands.map((command, n) => ({ ...command, after: n === 0 ? 0 : (commands[n - 1]?.seq ?? 0) }));
  const isThere = ({ seq, id, after }: (typeof wanted)[number]) => there.get(seq)?.id === id && there.get(seq)?.after === after;
  const missing = wanted.filter((command) => !isThere(command));
  const stays = new Set(wanted.filter(isThere).map(({ seq }) => seq));
  const drop = [...there.keys()].filter((seq) => !stays.has(seq));
  if (missing.length === 0 && drop.length === 0) return;
  const put = missing.map((command) => signCommand(site, { ...command, ...way }));
  await shared.write(SENDING, (trx) => replaceSent(trx, way, drop, put), 'repeat');
}

function signCommand(site: Site, command: Omit<SentCommand, 'keyId' | 'signature'>): SentCommand {
  const actor = command.actor.slice(0, 128);
  return { ...command, actor, keyId: site.keys.signerKeyId, signature: site.keys.sign(commandBytes({ ...command, actor })) };
}

/** Does what other servers put there for this one, each once, in the order of its sender. Costs one look at an index when there is nothing. */
export async function takeCommands(site: Site, shared: Shared): Promise<void> {
  const commands = await shared.read(TAKING, (db) => listSentTo(db, site.self.id, MOST_AT_ONCE));
  for (const sender of new Set(commands.map((command) => command.sender))) {
    const before = await getControlMark(site.db, sender, 'applied');
    const theirs = commands.filter((command) => command.sender === sender);
    for (const command of theirs) if (!(await takeCommand(site, shared, command))) break;
    const done = await getControlMark(site.db, sender, 'applied');
    if (done > before || theirs.some(({ seq }) => seq <= done)) await tellDone(site, shared, sender, done);
  }
}

/** False when what must be done before is not there yet. */
async function takeCommand(site: Site, shared: Shared, command: SentCommand): Promise<boolean> {
  const { sender, seq, after } = command;
  const done = await getControlMark(site.db, sender, 'applied');
  if (seq <= done) return true;
  if (after > done) return false;
  try {
    await requireSigned(site, shared, command);
  } catch (error) {
    const { code, message } = describeError(error);
    // Text that is not Unicode has no canonical form, so nobody has signed it.
    if (code !== 'bad_signature' && !(error instanceof RangeError)) throw error;
    if (await refuseStranger(site, shared, command)) return true;
    site.log.warn('a command in the shared database is not done', { command: command.id, sender, code, error: message });
    await shared.write(TAKING, (trx) => dropSent(trx, { sender, receiver: site.self.id }, seq), 'repeat');
    return false;
  }
  await applyCommand(site, sender, command);
  return true;
}

async function requireSigned(site: Site, shared: Shared, command: SentCommand): Promise<void> {
  const { sender, keyId } = command;
  if (sender === site.self.id) throw new AppError('bad_signature', 'a command from this server to itself is none');
  if (!Command.safeParse(command).success) throw new AppError('bad_signature', 'what stands there is not a command');
  const brought = { signers: await shared.read(TAKING, (db) => listSharedSigners(db, sender)) };
  verifyCommand(command, await trustedSigner(site, brought, { keyId, serverId: sender }));
}

function tellDone(site: Site, shared: Shared, sender: Id, seq: number): Promise<void> {
  return shared.write(TAKING, (trx) => noteDone(trx, { sender, receiver: site.self.id }, seq), 'repeat');
}

/** Says again how far we are with everybody: after an outage, because a database may have lost what it was told. */
export async function tellAllDone(site: Site, shared: Shared): Promise<void> {
  for (const { peerId, seq } of await listControlMarks(site.db, 'applied')) {
    const there = (await shared.read(TAKING, (db) => listDone(db, peerId, [site.self.id]))).get(site.self.id);
    if (there !== seq && (await getPeer(site.db, peerId)) !== undefined) await tellDone(site, shared, peerId, seq);
  }
}
