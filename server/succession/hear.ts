import type { Knex } from 'knex';
import { DeputyBody, STATEMENT_KINDS, TakeoverBody } from '../../core/deputy.ts';
import type { Envelope } from '../../core/envelope.ts';
import type { Digest, Id } from '../../core/ids.ts';
import { keepVouched } from '../db/trusted-servers.ts';
import type { Site } from '../site.ts';
import { believeTakeover } from './takeover.ts';

/** Whether an object is a statement about who takes whose place: its maker's own for ever, adopted by nobody. */
export function isStatement({ kind }: { readonly kind: string }): boolean {
  return STATEMENT_KINDS.includes(kind);
}

/**
 * Takes what these statements say, which are new here and stored in this transaction: by which CA a deputy is known, so that what it signs is
 * believed when it is needed, and that it has taken the place. Before the objects that it made of another's are looked at.
 */
export async function hearStatements(site: Site, trx: Knex.Transaction, statements: readonly Envelope[]): Promise<void> {
  for (const { origin, body } of statements.filter(({ kind }) => kind === 'deputy')) {
    const deputy = DeputyBody.safeParse(body).data?.deputy;
    if (!deputy || deputy.serverId === site.self.id) continue;
    const server = { id: deputy.serverId as Id, name: deputy.name, caPin: deputy.caPin as Digest };
    await keepVouched(trx, server, { voucher: origin, origin: site.self.id, now: site.now() });
  }
  for (const { origin, body } of statements.filter(({ kind }) => kind === 'takeover')) {
    const told = TakeoverBody.safeParse(body).data;
    if (told !== undefined && told.predecessor !== site.self.id) await believeTakeover(site, trx, origin, told);
  }
}
