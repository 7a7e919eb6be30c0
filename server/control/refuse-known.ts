import type { Knex } from 'knex';
import { TargetReport } from '../../core/control-protocol.ts';
import { AppError } from '../../core/errors.ts';
import { findReportedTargets } from '../db/reported.ts';
import type { AddedTarget } from '../targets.ts';
import type { ServerBelow } from './servers-below.ts';

/**
 * Refuses at once what a server below would refuse when the command is there, by what it last told of its targets: a name that
 * another machine has, another name for a machine that has one. It decides itself in the end. Errors: `name_taken`.
 */
export async function refuseKnown(db: Knex, owner: ServerBelow, added: AddedTarget): Promise<void> {
  const isSame = (one: TargetReport) =>
    one.macs.some((mac) => added.macs.some((own) => own === mac)) ||
    (added.uuid !== undefined && one.uuid?.toLowerCase() === added.uuid.toLowerCase()) ||
    (added.serial !== undefined && one.serial === added.serial);
  for (const one of await knownBy(db, owner, added)) {
    if (one.name === null) continue;
    if (isSame(one) ? one.name === added.name || added.name === null : one.name !== added.name) continue;
    const words = isSame(one) ? `knows this machine as "${one.name}"` : `has a target "${one.name}"`;
    throw new AppError('name_taken', `server ${owner.name} ${words} already`, {
      hint: isSame(one) ? 'use that name, or delete the target first' : 'choose another name or delete that target',
    });
  }
}

/** What this server told of targets with that name or one of those addresses. */
async function knownBy(db: Knex, owner: ServerBelow, { name, uuid, macs }: AddedTarget): Promise<TargetReport[]> {
  const found: TargetReport[] = [];
  for (const word of [name, uuid?.toLowerCase(), ...macs]) {
    if (word == null) continue;
    for (const { origin, subject, body } of await findReportedTargets(db, word)) {
      const target = TargetReport.safeParse(body).data;
      if (origin === owner.id && target?.id === subject) found.push(target);
    }
  }
  return found;
}
