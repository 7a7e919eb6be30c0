import { AppError } from '../core/errors.ts';
import { type Name, parseId, printable } from '../core/ids.ts';
import { appendEvent } from './db/events.ts';
import { getLinkToParent } from './db/links.ts';
import { inTransaction } from './db/open.ts';
import { listSources, putSource, removeSource, type Source } from './db/sources.ts';
import type { Site } from './site.ts';
import { redeemAt } from './trust/join.ts';

/** A source as the interface shows it. */
export type SourceView = {
  readonly id: string;
  readonly name: string;
  readonly url: string;
  readonly bytesPerSecond: number | null;
};

export function viewSource({ serverId, name, url, rateBytes }: Source): SourceView {
  return { id: serverId, name, url, bytesPerSecond: rateBytes };
}

/**
 * Enrols at a further server to take content from it when the parent is away, slow, or lacks something. It is asked for
 * archives of what our parent's catalogue names and for nothing else; at its side we are no child.
 * Errors: those of `joinParent`; `usage` for our parent itself.
 */
export async function addSource(
  site: Site,
  join: { readonly url: string; readonly token: string; readonly actor: string },
): Promise<Source> {
  const { url, token, answer, keyPem, certificateKeyId } = await redeemAt(site, join, 'content');
  const serverId = parseId(answer.serverId);
  if ((await getLinkToParent(site.db, serverId)) !== undefined) {
    throw new AppError('usage', `${answer.name} is the parent of this server already`, {
      hint: 'name a sibling or a server above the parent',
    });
  }
  await site.keys.storeParentCredentials(serverId, { keyPem, certPem: answer.certificate, caPem: answer.ca });
  const source = { serverId, name: answer.name as Name, url, caPin: token.caPin, certificateKeyId, createdAt: site.now() };
  await inTransaction(site.db, async (trx) => {
    await putSource(trx, source, site.self.id);
    const event = { kind: 'source.added', subject: serverId, data: { name: source.name, url } };
    await appendEvent(trx, { origin: site.self.id, at: site.now(), actor: join.actor, ...event });
  });
  site.wake.notify('events');
  return { ...source, rateBytes: null };
}

/** Takes no content from there any more. Throws `not_found`. The other side revokes us with `server revoke`. */
export async function dropSource(site: Site, reference: string, actor: string): Promise<Source> {
  const source = (await listSources(site.db)).find(({ serverId, name }) => serverId === reference || name === reference);
  if (source === undefined)
    throw new AppError('not_found', `there is no source "${printable(reference)}"`, { hint: 'see "server source list"' });
  await inTransaction(site.db, async (trx) => {
    await removeSource(trx, source.serverId);
    const event = { kind: 'source.removed', subject: source.serverId, data: { name: source.name } };
    await appendEvent(trx, { origin: site.self.id, at: site.now(), actor, ...event });
  });
  site.wake.notify('events');
  return source;
}
