import type { Knex } from 'knex';
import { z } from 'zod';
import { describeError } from '../../core/errors.ts';
import type { Digest, Id } from '../../core/ids.ts';
import { getServer } from '../db/servers.ts';
import { deleteSetting, getSetting, setSetting } from '../db/settings.ts';
import type { Site } from '../site.ts';
import type { ParentCredentials } from '../trust/parent-credentials.ts';
import { pinnedJson } from '../trust/pinned-request.ts';
import { pinnedAgent } from '../trust/pinned-tls.ts';
import { showTakeover } from './takeover.ts';

/** Whom we tell that we took its place, until it has heard it; what it issued to us as its child is kept for that. */
const Calling = z.object({ id: z.string(), url: z.string(), caPin: z.string() });
const KEY = 'takeover.calling';

/** The answer to a takeover: `fenced` when the one that heard it believes it. */
export const Heard = z.object({ fenced: z.boolean() });

/** Remembers the parent whose place we take, in the transaction that leaves it. */
export async function rememberToCall(trx: Knex, parentId: Id): Promise<void> {
  const parent = await getServer(trx, parentId);
  if (parent?.relation !== 'parent' || parent.url === null || parent.caPin === null) return;
  await setSetting(trx, KEY, JSON.stringify({ id: parentId, url: parent.url, caPin: parent.caPin }));
}

/** Keeps what it issued to us, which leaving it has dropped. */
export async function keepForCall(site: Site, parentId: Id, credentials: ParentCredentials | undefined): Promise<void> {
  if (credentials !== undefined) await site.keys.storeParentCredentials(parentId, credentials);
}

/** Calls the server whose place we took, in case that it is back. */
export async function callBack(site: Site, signal: AbortSignal): Promise<void> {
  const text = await getSetting(site.db, KEY);
  if (text === undefined) return;
  const { id, url, caPin } = Calling.parse(JSON.parse(text));
  const credentials = site.keys.parentCredentials(id as Id);
  if (credentials === undefined || (await getServer(site.db, id as Id)) !== undefined) return forget(site, id as Id);
  const agent = pinnedAgent({ pin: caPin as Digest, cert: credentials.certPem, key: credentials.keyPem, now: site.now });
  try {
    const json = await showTakeover(site, id);
    const { fenced } = Heard.parse(await pinnedJson(agent, { url: `${url}/api/v1/control/takeover`, json, signal, timeoutMs: 15_000 }));
    if (!fenced) return;
    site.log.warn('the server whose place this one took is back, and fenced', { server: id });
    await forget(site, id as Id);
  } catch (error) {
    const { code, message } = describeError(error);
    // It knows already, or does not know us any more.
    if (['fenced', 'revoked', 'denied'].includes(code)) return forget(site, id as Id);
    site.log.debug('the server whose place this one took does not answer', { server: id, code, error: message });
  } finally {
    agent.destroy();
  }
}

async function forget(site: Site, id: Id): Promise<void> {
  await deleteSetting(site.db, KEY);
  // As our child, or our parent again, it has given us other ones.
  if ((await getServer(site.db, id))?.relation !== 'parent') await site.keys.dropParentCredentials(id);
}
