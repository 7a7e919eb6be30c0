import type { Knex } from 'knex';
import type { ReportBatch } from '../../core/control-protocol.ts';
import { describeError } from '../../core/errors.ts';
import { type Id, isId } from '../../core/ids.ts';
import { storeBatch } from '../control/receive.ts';
import { listControlMarks } from '../db/control-queue.ts';
import { inTransaction } from '../db/open.ts';
import { noteOrigin } from '../db/origins.ts';
import { listHeldObjects } from '../db/peers.ts';
import { countMarkedOrigins, listMarksOf, lockMark, type Mark, moveMark } from '../db/reported.ts';
import { listServers } from '../db/servers.ts';
import { listSharedEvents, listSharedStates, type Page } from '../db/shared/reports.ts';
import { MOST_SERVERS } from '../db/shared/servers.ts';
import { listMoved, type StreamMark } from '../db/shared/streams.ts';
import type { Site } from '../site.ts';
import type { Shared } from './open.ts';
import { takeObjects } from './take-objects.ts';

const WHAT = 'hearing of the other servers';

/** How far a running server has looked. A new one looks at every stream once, and so does whoever lost the connection. */
export type Heard = { mark: number };

const STREAMS_AT_ONCE = 500;
const ITEMS_AT_ONCE = 200;

/**
 * Brings here what other servers told the shared database since the last look: their objects, and what they report as far as
 * this server needs that (`needsReports`). What is known here already, by a link or from an earlier look, costs one number.
 * `meet` is called before anything is taken of a server that is not known.
 */
export async function hearNews(site: Site, shared: Shared, heard: Heard, meet: () => Promise<unknown>): Promise<void> {
  for (;;) {
    const moved = await shared.read(WHAT, (db) => listMoved(db, heard.mark, STREAMS_AT_ONCE));
    const last = moved.at(-1);
    if (last === undefined) return;
    const others = [...new Set(moved.map(({ origin }) => origin))].filter((origin) => origin !== site.self.id && isId(origin));
    if ((await listHeldObjects(site.db, others)).size < others.length) await meet();
    const needs = await needsReports(site);
    const known = await howFar(site, others);
    const news = { room: MOST_SERVERS - (known.origins.size < others.length ? await countMarkedOrigins(site.db) : 0) };
    for (const told of moved) await hearStream(site, shared, { told, needs, known, news });
    heard.mark = last.mark;
  }
}

/** How far each stream of these servers is known here, and whose reports are. */
type Known = { readonly marks: ReadonlyMap<string, number>; readonly origins: Set<string> };

async function howFar(site: Site, origins: readonly Id[]): Promise<Known> {
  const reports = await listMarksOf(site.db, origins);
  const objects = [...(await listHeldObjects(site.db, origins))].map(([origin, seq]) => [keyOf(origin, 'objects'), seq] as const);
  const marks = new Map([...reports.map(({ origin, stream, seq }) => [keyOf(origin, stream), seq] as const), ...objects]);
  return { marks, origins: new Set(reports.map(({ origin }) => origin)) };
}

function keyOf(origin: Id, stream: StreamMark['stream']): string {
  return `${origin} ${stream}`;
}

type Look = {
  readonly told: StreamMark;
  readonly needs: (origin: Id) => boolean;
  readonly known: Known;
  /** For how many servers more reports are kept. */
  readonly news: { room: number };
};

async function hearStream(site: Site, shared: Shared, { told, needs, known, news }: Look): Promise<void> {
  const { origin, stream, seq } = told;
  if (origin === site.self.id || !isId(origin)) return;
  const from = known.marks.get(keyOf(origin, stream)) ?? 0;
  if (seq <= from) return;
  if (stream === 'objects') return takeObjects(site, shared, origin);
  // What only a later release tells is not for us.
  if (stream !== 'events' && stream !== 'states') return;
  if (!needs(origin)) return;
  if (!known.origins.has(origin) && news.room-- <= 0) return;
  known.origins.add(origin);
  try {
    await takeReports(site, shared, { origin, stream }, from);
  } catch (error) {
    const { code, message } = describeError(error);
    if (code !== 'bad_data' && code !== 'not_permitted') throw error;
    site.log.warn('reports in the shared database are not taken', { origin, stream, code, error: message });
  }
}

/** Takes one stream from where it ends here to where it ends there. */
export async function takeReports(
  site: Site,
  shared: Shared,
  { origin, stream }: { readonly origin: Id; readonly stream: 'events' | 'states' },
  from: number,
): Promise<void> {
  const changed = new Set<string>();
  for (let after = from; ; ) {
    const page = { after, limit: ITEMS_AT_ONCE };
    const batch = await shared.read(WHAT, (db) => readBatch(db, { origin, stream }, page));
    const first = batch.items.at(0)?.seq;
    if (first === undefined) break;
    // Events that are old enough are no longer there (server/db/shared/tidy.ts).
    if (stream === 'events' && first > after + 1) {
      if (await skipTo(site, { origin, stream }, { from: after, to: first - 1 })) after = first - 1;
      else break;
      continue;
    }
    const stored = await inTransaction(site.db, async (trx) => {
      const taken = await storeBatch(site, trx, batch, { sender: origin, changed });
      if (taken.isNew) await noteOrigin(trx, { id: origin, seenAt: site.now() });
      return taken.seq;
    });
    // Somebody else, the link to that server, has brought it further.
    if (stored < after) break;
    after = stored;
  }
  site.wake.notify('events');
  for (const targetId of changed) site.wake.notify(`target:${targetId}`);
}

async function skipTo(site: Site, of: Omit<Mark, 'seq'>, { from, to }: { readonly from: number; readonly to: number }): Promise<boolean> {
  return inTransaction(site.db, async (trx) => {
    if ((await lockMark(trx, of.origin, of.stream)) !== from) return false;
    return moveMark(trx, { ...of, seq: to }, from);
  });
}

async function readBatch(
  db: Knex,
  { origin, stream }: { readonly origin: Id; readonly stream: 'events' | 'states' },
  page: Page,
): Promise<ReportBatch> {
  const { after } = page;
  if (stream === 'events') return { origin, stream, after, items: withoutGap(await listSharedEvents(db, origin, page)) };
  return { origin, stream, after, items: await listSharedStates(db, origin, page) };
}

/** Events up to the first number that is missing: one that was lost there, or cannot be read, is passed over by itself. */
function withoutGap<Item extends { readonly seq: number }>(items: Item[]): Item[] {
  const first = items[0]?.seq ?? 0;
  const gap = items.findIndex(({ seq }, n) => seq !== first + n);
  return gap === -1 ? items : items.slice(0, gap);
}

/**
 * Whose reports are brought here: everybody's to a server without a parent, which is where people look; to one with a parent only
 * those of servers that it ever looked at or sent a command to. Servers below it report by their links.
 */
async function needsReports(site: Site): Promise<(origin: Id) => boolean> {
  const hasParent = (await listServers(site.db)).some(({ relation }) => relation === 'parent');
  if (!hasParent) return () => true;
  const asked = new Set((await listControlMarks(site.db, 'down')).map(({ peerId }) => peerId));
  return (origin) => asked.has(origin);
}
