import type { Knex } from 'knex';
import { ServerReport } from '../../core/control-protocol.ts';
import { AppError } from '../../core/errors.ts';
import type { Id } from '../../core/ids.ts';
import { type MovedServer, movesOf, type PromotionServer, topAbove } from '../../core/promotion.ts';
import { readDatabaseTime } from '../db/dialect-time.ts';
import { appendEvent } from '../db/events.ts';
import { inTransaction } from '../db/open.ts';
import { listSharedServers, lockSharedServer, type SharedServer, setSharedState, wishParent } from '../db/shared/servers.ts';
import { getStream } from '../db/shared/streams.ts';
import { listSharedSuccessions, putSharedSuccession } from '../db/shared/successions.ts';
import type { Site } from '../site.ts';
import { deputyOf } from '../succession/deputy.ts';
import { type Promoted, type PromotionWish, refuseAlive } from '../succession/promotion.ts';
import { SILENT_MS } from './heartbeat.ts';
import type { Shared } from './open.ts';
import { lockTree, present, registered } from './parents.ts';

const WHAT = 'promoting a server';

type Known = SharedServer & PromotionServer;
type Decided = { readonly successor: Known; readonly lost: Known; readonly moves: readonly MovedServer[]; readonly isDone: boolean };

/**
 * Gives a server of the shared database the place of the one at the top above it (or of `insteadOf`), in one transaction: that one is
 * fenced, and everybody directly below it gets the new one as parent. Each follows by itself. Asking for what is so changes nothing.
 *
 * Errors: `not_found`, `wrong_state` (it has nobody above it, or does not live; one of them left; the lost one lives), `unreachable`, `fenced`.
 */
export async function promoteThere(site: Site, shared: Shared, wish: PromotionWish): Promise<Promoted> {
  if (wish.isDryRun) {
    const { decided, heardSecondsAgo } = await shared.read(WHAT, (db) => decideNow(site, db, wish));
    return describe(decided, { wish, heardSecondsAgo });
  }
  const act = async (trx: Knex.Transaction) => {
    await lockTree(trx);
    const found = await decideNow(site, trx, wish);
    if (!found.decided.isDone) await carryOut(site, trx, found.decided, wish.actor);
    return found;
  };
  const { decided, heardSecondsAgo } = await shared.write(WHAT, act, 'repeat', { fencesItself: true });
  if (!decided.isDone) await note(site, decided, wish.actor);
  return describe(decided, { wish, heardSecondsAgo });
}

async function decideNow(site: Site, db: Knex, wish: PromotionWish): Promise<{ decided: Decided; heardSecondsAgo: number | null }> {
  const servers = (await listSharedServers(db)).map(withLink);
  const decided = await decide(db, servers, wish);
  const { lost } = decided;
  const now = await readDatabaseTime(db);
  const ageMs = lost.heartbeatAt === null ? null : Math.max(0, now - lost.heartbeatAt);
  if (!decided.isDone) {
    await refuseOther(site, decided);
    refuseSilent(decided.successor, now);
    refuseAlive(lost.name, { ageMs, limitMs: SILENT_MS, wish });
  }
  return { decided, heardSecondsAgo: ageMs === null ? null : Math.round(ageMs / 1000) };
}

/** Everybody would follow a server that is not there either. */
function refuseSilent({ name, heartbeatAt }: Known, now: number): void {
  if (heartbeatAt !== null && now - heartbeatAt <= SILENT_MS) return;
  const heard = heartbeatAt === null ? 'never' : `${Math.round((now - heartbeatAt) / 1000)} s ago`;
  throw new AppError('wrong_state', `server ${name} was heard ${heard}: it cannot take over`, {
    hint: 'start it first, or promote another',
  });
}

/** Others would not believe it: they hold the statement of the one that is lost. */
async function refuseOther(site: Site, { successor, lost }: Decided): Promise<void> {
  const deputy = await deputyOf(site.db, lost.id);
  if (deputy === undefined || deputy?.serverId === successor.id) return;
  throw new AppError('wrong_state', `server ${lost.name} has said that ${deputy === null ? 'nobody' : deputy.name} may take its place`, {
    hint: `${deputy === null ? '' : `promote ${deputy.name}; or `}set the parents by hand: server parent set`,
  });
}

function withLink(server: SharedServer): Known {
  return { ...server, linkedTo: (ServerReport.safeParse(server.report).data?.link?.parentId as Id | undefined) ?? null };
}

async function decide(db: Knex, servers: readonly Known[], { server, insteadOf }: PromotionWish): Promise<Decided> {
  const successor = present(servers, server);
  const before = (await listSharedSuccessions(db)).filter((one) => one.successor === successor.id).map(({ predecessor }) => predecessor);
  const named = insteadOf === undefined ? undefined : registered(servers, insteadOf);
  const done = servers.find(({ id, state }) => state === 'fenced' && before.includes(id) && (named === undefined || named.id === id));
  if (done !== undefined) return { successor, lost: done, moves: [], isDone: true };
  const lost = named ?? topAbove(servers, successor);
  if (lost === undefined)
    throw new AppError('wrong_state', `server ${successor.name} has nobody above it whose place it could take`, {
      hint: 'name the one that is lost: --instead-of NAME',
    });
  if (lost.id === successor.id) throw new AppError('wrong_state', `server ${lost.name} cannot take its own place`);
  if (lost.state !== 'active')
    throw new AppError('wrong_state', `server ${lost.name} is ${lost.state} already`, {
      hint: 'see who took its place: waystation server list',
    });
  return { successor, lost, moves: movesOf(servers, successor, lost), isDone: false };
}

async function carryOut(site: Site, trx: Knex.Transaction, { successor, lost, moves }: Decided, actor: string): Promise<void> {
  for (const { id, toId } of moves) {
    const revision = (await lockSharedServer(trx, id)) ?? 0;
    await wishParent(trx, id, { parentId: toId, file: null, revision });
  }
  if (!(await setSharedState(trx, lost.id, { from: 'active', to: 'fenced' })))
    throw new AppError('busy', `server ${lost.name} was changed by somebody else at the same time`, { hint: 'look at it and ask again' });
  const objects = await getStream(trx, lost.id, 'objects');
  await putSharedSuccession(trx, { predecessor: lost.id, successor: successor.id, actor, askedAt: site.self.id, objects });
}

async function note(site: Site, { successor, lost, moves }: Decided, actor: string): Promise<void> {
  const moved = moves.map(({ server, from, to }) => ({ server, from, to }));
  const data = { server: successor.name, insteadOf: lost.name, insteadOfId: lost.id, moved: moved.slice(0, 500) };
  const event = { origin: site.self.id, at: site.now(), actor, kind: 'server.promoted', subject: successor.id, data };
  await inTransaction(site.db, (trx) => appendEvent(trx, event));
  site.wake.notify('events');
  site.wake.notify('meeting');
}

function describe({ successor, lost, moves, isDone }: Decided, told: { wish: PromotionWish; heardSecondsAgo: number | null }): Promoted {
  return {
    ...{ server: successor.name, insteadOf: lost.name, by: 'database', changed: !isDone && !told.wish.isDryRun },
    ...{ dryRun: told.wish.isDryRun, heardSecondsAgo: told.heardSecondsAgo, adopted: null },
    moved: moves.map(({ id: _id, toId: _toId, ...move }) => move),
  };
}
