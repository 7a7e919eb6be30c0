import type { Knex } from 'knex';
import { AppError } from '../../core/errors.ts';
import type { Digest, Id } from '../../core/ids.ts';
import { approveAgentKey } from '../db/agent-keys.ts';
import { appendEvent } from '../db/events.ts';
import { inTransaction } from '../db/open.ts';
import type { Site } from '../site.ts';
import { getTarget, type Target } from '../targets.ts';
import { wakeTarget } from './advance.ts';

/** An operator compared the key on the machine's screen with ours: from now on it is bound. Errors: `not_found`, `wrong_state`. */
export async function approveAgent(site: Site, targetRef: string, keyId: Digest, actor: string): Promise<{ targetId: Id; keyId: Digest }> {
  const target = await getTarget(site, targetRef);
  await inTransaction(site.db, (trx) => approveWithin(site, trx, target, { keyId, actor }));
  wakeTarget(site, target.id);
  return { targetId: target.id, keyId };
}

/** As `approveAgent`, in the caller's transaction; the caller wakes the target. */
export async function approveWithin(
  site: Site,
  trx: Knex.Transaction,
  target: Target,
  by: { keyId: Digest; actor: string },
): Promise<void> {
  const { keyId, actor } = by;
  if (!(await approveAgentKey(trx, target.id, keyId, site.now()))) {
    throw new AppError('wrong_state', `key ${keyId} does not wait for target ${target.name ?? target.id}`, {
      hint: 'see which key waits with "target show"',
    });
  }
  await appendEvent(trx, { origin: site.self.id, at: site.now(), actor, kind: 'agent.key-bound', subject: target.id, data: { keyId } });
}
