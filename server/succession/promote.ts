import { AppError } from '../../core/errors.ts';
import { type Id, printable } from '../../core/ids.ts';
import type { Ancestor } from '../../core/sync-protocol.ts';
import { appendEvent } from '../db/events.ts';
import { countOwnable } from '../db/objects.ts';
import { inTransaction } from '../db/open.ts';
import { getServer, listServers } from '../db/servers.ts';
import { listSuccessions, type Succession } from '../db/successions.ts';
import { contactOf } from '../panel/contact.ts';
import { promoteThere } from '../shared/promote.ts';
import type { Site } from '../site.ts';
import { listLineage } from '../trust/endorse.ts';
import { leaveParents } from '../trust/leave.ts';
import { adoptObjects } from './adopt.ts';
import { believeSuccession, SUCCESSION } from './believe.ts';
import { keepForCall, rememberToCall } from './call-back.ts';
import { refuseFenced } from './fence.ts';
import { type Promoted, type PromotionWish, refuseAlive } from './promotion.ts';

/** Heard so lately, a parent is not lost. */
const ALIVE_MS = 60_000;

/**
 * Makes a server the master in the place of one that is lost. Where servers meet in a database any of them can be named, and all follow by
 * themselves; with links alone a server is promoted where it runs, and the others join it. Nothing that was made is lost: what the lost
 * one owned belongs to the new one. Asking again changes nothing, and adopts what came since.
 *
 * Errors: `usage` (another server, with links alone), `not_found`, `wrong_state` (nobody above it; the lost one lives), `fenced`, `unreachable`.
 */
export async function promoteServer(site: Site, wish: PromotionWish): Promise<Promoted> {
  await refuseFenced(site.db);
  return site.shared === undefined ? promoteHere(site, wish) : promoteThere(site, site.shared, wish);
}

async function promoteHere(site: Site, wish: PromotionWish): Promise<Promoted> {
  const { server, insteadOf, isDryRun } = wish;
  if (server !== site.self.name && server !== site.self.id)
    throw new AppError('usage', `server ${printable(server)} replicates by links: it is promoted where it runs, not at ${site.self.name}`, {
      hint: `on the machine of ${printable(server)}: waystation server promote ${printable(server)}`,
    });
  const lineage = await listLineage(site);
  const lost =
    insteadOf === undefined ? lineage.at(-1) : lineage.find(({ name, serverId }) => name === insteadOf || serverId === insteadOf);
  if (lost === undefined) return again(site, wish);
  const heardMs = heardAgo(site, lost);
  const told = { server: site.self.name, insteadOf: lost.name, by: 'link', dryRun: isDryRun } as const;
  const moved = [{ server: site.self.name, from: lineage[0]?.name ?? null, to: null, managedBy: null }];
  const heardSecondsAgo = heardMs === null ? null : Math.round(heardMs / 1000);
  refuseAlive(lost.name, { ageMs: heardMs, limitMs: ALIVE_MS, wish });
  const predecessor = lost.serverId as Id;
  const adopted = await countOwnable(site.db, predecessor);
  if (isDryRun) return { ...told, moved, heardSecondsAgo, changed: false, adopted };
  await takePlace(site, lost, wish.actor);
  // The background, which heard of it, may have been faster: then there is nothing left, and what was ours to adopt is adopted.
  await adoptObjects(site, predecessor);
  return { ...told, moved, heardSecondsAgo, changed: true, adopted };
}

/** Only of a parent it is known by ourselves. */
function heardAgo(site: Site, { serverId }: Ancestor): number | null {
  const heardAt = contactOf(site, serverId as Id, 'parent')?.heardAt ?? null;
  return heardAt === null ? null : Math.max(0, site.now() - heardAt);
}

/** Killed in between it is done again by the same command: the link goes last, and what is not signed anew yet is then in the background. */
async function takePlace(site: Site, { serverId, name }: Ancestor, actor: string): Promise<void> {
  const at = site.now();
  const own = { successor: site.self.id, successorName: site.self.name, ground: 'promoted', at, objects: null } as const;
  await inTransaction(site.db, async (trx) => {
    await believeSuccession(site, trx, { ...own, predecessor: serverId as Id, predecessorName: name });
    const data = { server: site.self.name, insteadOf: name, insteadOfId: serverId };
    await appendEvent(trx, { origin: site.self.id, at, actor, kind: 'server.promoted', subject: site.self.id, data });
    await rememberToCall(trx, serverId as Id);
  });
  const issued = site.keys.parentCredentials(serverId as Id);
  const parents = (await listServers(site.db)).filter(({ relation }) => relation === 'parent');
  await leaveParents(
    site,
    parents.map(({ id }) => id),
  );
  await keepForCall(site, serverId as Id, issued);
  site.log.warn('this server was promoted', { insteadOf: name });
  for (const topic of ['events', SUCCESSION]) site.wake.notify(topic);
}

async function again(site: Site, { insteadOf, isDryRun }: PromotionWish): Promise<Promoted> {
  const isNamed = ({ predecessor, predecessorName }: Succession) =>
    insteadOf === undefined || insteadOf === predecessor || insteadOf === predecessorName;
  const own = (await listSuccessions(site.db)).filter((one) => one.successor === site.self.id && isNamed(one));
  const [last] = own.sort((one, other) => other.at - one.at);
  if (last === undefined)
    throw insteadOf === undefined
      ? new AppError('wrong_state', `server ${site.self.name} has nobody above it whose place it could take`, { hint: 'see "server list"' })
      : new AppError('not_found', `no server "${printable(insteadOf)}" is above ${site.self.name}`, { hint: 'waystation server list' });
  // Once it is our child, what it makes is its own.
  const isBack = (await getServer(site.db, last.predecessor))?.relation === 'child';
  const told = { server: site.self.name, insteadOf: last.predecessorName, by: 'link', dryRun: isDryRun, changed: false } as const;
  const adopted = isBack ? 0 : isDryRun ? await countOwnable(site.db, last.predecessor) : await adoptObjects(site, last.predecessor);
  return { ...told, heardSecondsAgo: null, moved: [], adopted };
}
