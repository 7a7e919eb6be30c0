import type { Knex } from 'knex';
import { AppError } from '../core/errors.ts';
import type { Id } from '../core/ids.ts';
import { getServer } from './db/servers.ts';
import { getTrustedServer } from './db/trusted-servers.ts';

/** A server in words: `hq (0190a1b2-…)`, or its id alone when nobody told us a name. */
export async function describeServer(db: Knex, id: Id): Promise<string> {
  const known = (await getServer(db, id)) ?? (await getTrustedServer(db, id));
  return known === undefined ? id : `${known.name} (${id})`;
}

/**
 * Refuses to change or delete what another server made: here it is a copy, and its owner's next revision would undo the
 * change. Throws `not_permitted`, naming the owner. `what` is as people call it: `image debian@1`.
 */
export async function refuseCopy(site: { readonly db: Knex; readonly self: { readonly id: Id } }, what: string, owner: Id): Promise<void> {
  if (owner === site.self.id) return;
  const server = await describeServer(site.db, owner);
  throw new AppError('not_permitted', `${what} belongs to server ${server} and is a copy here`, {
    hint: 'change or delete it there; the next run brings it here',
  });
}
