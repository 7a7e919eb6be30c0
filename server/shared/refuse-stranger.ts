import { AppError } from '../../core/errors.ts';
import { refuseCommand } from '../control/apply.ts';
import { getPeer } from '../db/peers.ts';
import type { SentCommand } from '../db/shared/commands.ts';
import { listSharedSigners } from '../db/shared/objects.ts';
import type { Site } from '../site.ts';
import { verifyCommand, verifySigner } from '../trust/signatures.ts';
import type { Shared } from './open.ts';

const WHAT = 'refusing a command of another server';
const HOUR_MS = 3_600_000;
/** Refusals are events, and who has a login to the database can make up as many senders and commands as they like. */
const MOST_IN_AN_HOUR = 200;

type Refused = { from: number; count: number };
const refused = new WeakMap<Site['wake'], Refused>();

/**
 * With `enrolThroughDatabase: false` a server does nothing for who is known from the database alone. One that signed its command under the
 * keys by which it was first seen there is told so in words, once. False for every other command, which is then nobody's, and
 * when there were too many: those are put there again by who sent them.
 */
export async function refuseStranger(site: Site, shared: Shared, command: SentCommand): Promise<boolean> {
  const { sender, keyId } = command;
  const peer = site.config.enrolThroughDatabase ? undefined : await getPeer(site.db, sender);
  if (peer === undefined || !mayRefuse(site)) return false;
  const record = (await shared.read(WHAT, (db) => listSharedSigners(db, sender))).find((one) => one.keyId === keyId);
  if (record?.serverId !== sender) return false;
  try {
    verifySigner(record, peer.caPin);
    verifyCommand(command, record);
  } catch {
    return false; // signed by somebody else
  }
  const words = `server ${site.self.name} takes no commands through the database (enrolThroughDatabase)`;
  const hint = `make it a child there with a token (waystation server token, waystation server join), or set enrolThroughDatabase there`;
  await refuseCommand(site, sender, command, new AppError('not_permitted', words, { hint }));
  return true;
}

function mayRefuse({ wake }: Site): boolean {
  const now = performance.now();
  const known = refused.get(wake);
  const counted = known === undefined || now - known.from > HOUR_MS ? { from: now, count: 0 } : known;
  refused.set(wake, counted);
  counted.count += 1;
  return counted.count <= MOST_IN_AN_HOUR;
}
