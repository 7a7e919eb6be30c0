import type { Knex } from 'knex';
import { type Deputy, DeputyBody, type DeputyChildren } from '../../core/deputy.ts';
import { AppError } from '../../core/errors.ts';
import { type Id, printable } from '../../core/ids.ts';
import { publishObject } from '../catalogue.ts';
import { dispatch } from '../control/dispatch.ts';
import { findServerBelow } from '../control/servers-below.ts';
import { appendEvent } from '../db/events.ts';
import { listObjectsOfKind, lockCatalogue } from '../db/objects.ts';
import { inTransaction } from '../db/open.ts';
import { getPeer } from '../db/peers.ts';
import { getServer, listServers } from '../db/servers.ts';
import { getSetting, setSetting } from '../db/settings.ts';
import { CATALOGUE } from '../replication/wait-for-news.ts';
import type { Site } from '../site.ts';

/** The topic that tells that a deputy was named here. */
export const DEPUTY = 'deputy';
const TOLD = 'deputy.told';

/** Whom a server has named: undefined when it never said anything, null when nobody may take its place. */
export async function deputyOf(db: Knex, serverId: Id): Promise<Deputy | null | undefined> {
  const own = await listObjectsOfKind(db, 'deputy', serverId);
  const [newest] = own.sort((one, other) => other.revision - one.revision);
  return newest === undefined ? undefined : DeputyBody.safeParse(newest.body).data?.deputy;
}

export type DeputyView = {
  readonly server: string;
  readonly deputy: { readonly name: string; readonly url: string } | null;
  readonly said: boolean;
};

export async function showDeputy(site: Site): Promise<DeputyView> {
  const deputy = await deputyOf(site.db, site.self.id);
  return { server: site.self.name, deputy: deputy ? { name: deputy.name, url: deputy.url } : null, said: deputy !== undefined };
}

/**
 * Names who may take this server's place (null: nobody), signed, for all servers below. Errors: `not_found`, `wrong_state` (no child of this
 * server), `usage` (its address is not known), `fenced`.
 */
export async function setDeputy(
  site: Site,
  { server, url, actor }: { readonly server: string | null; readonly url?: string | undefined; readonly actor: string },
): Promise<DeputyView> {
  const deputy = server === null ? null : await describeDeputy(site, server, url);
  await inTransaction(site.db, async (trx) => {
    await lockCatalogue(trx);
    const [held] = await listObjectsOfKind(trx, 'deputy', site.self.id);
    const body = JSON.parse(JSON.stringify({ deputy }));
    await publishObject(site, trx, { kind: 'deputy', ...(held === undefined ? {} : { id: held.id }), body });
    const data = { deputy: deputy?.name ?? null, url: deputy?.url ?? null };
    await appendEvent(trx, {
      origin: site.self.id,
      at: site.now(),
      actor,
      kind: 'server.deputy-set',
      subject: deputy?.serverId ?? site.self.id,
      data,
    });
    await setSetting(trx, TOLD, '');
  });
  for (const topic of ['events', CATALOGUE, DEPUTY]) site.wake.notify(topic);
  return showDeputy(site);
}

async function describeDeputy(site: Site, reference: string, given: string | undefined): Promise<Deputy> {
  const { id, name } = await findServerBelow(site.db, reference);
  const child = await getServer(site.db, id);
  const peer = await getPeer(site.db, id);
  const caPin = (child?.relation === 'child' ? child.caPin : undefined) ?? peer?.caPin;
  if (caPin === undefined)
    throw new AppError('wrong_state', `server ${name} is no child of this server: it is known by what others say of it`, {
      hint: 'name a child',
    });
  const text = given ?? peer?.url ?? undefined;
  const url = text === undefined ? null : URL.parse(text);
  if (url?.protocol !== 'https:' || url.pathname !== '/')
    throw new AppError(
      'usage',
      text === undefined ? `the address of server ${name} is not known here` : `"${printable(text)}" is no address of a server`,
      {
        hint: 'where the others reach it: --address https://HOST[:PORT]',
      },
    );
  return { serverId: id, name, caPin, url: url.origin };
}

/** Tells the deputy who our children are, when that has changed: it admits these without a token once it has our place, and nobody else. */
export async function tellDeputy(site: Site): Promise<void> {
  const deputy = await deputyOf(site.db, site.self.id);
  if (!deputy) return;
  const known = (await listServers(site.db)).filter(
    ({ relation, state, isContentOnly }) => relation === 'child' && state === 'active' && !isContentOnly,
  );
  const children = known.flatMap(({ id, name, caPin }) =>
    caPin === null || id === deputy.serverId ? [] : [{ serverId: id, name, caPin }],
  );
  const body: DeputyChildren = { children };
  const news = JSON.stringify([deputy.serverId, body]);
  if ((await getSetting(site.db, TOLD)) === news) return;
  const to = await findServerBelow(site.db, deputy.serverId);
  await dispatch(site, to, { kind: 'deputy.put', body, actor: 'system' }, (trx) => setSetting(trx, TOLD, news));
}

/** The deputy's side: whom a server above told to be its children. */
export async function keepChildrenOf(trx: Knex, owner: Id, body: DeputyChildren): Promise<void> {
  await setSetting(trx, `deputy.children.${owner}`, JSON.stringify(body));
}

export async function childrenOf(db: Knex, owner: Id): Promise<DeputyChildren['children']> {
  const text = await getSetting(db, `deputy.children.${owner}`);
  return text === undefined ? [] : (JSON.parse(text) as DeputyChildren).children;
}
