import type { Knex } from 'knex';
import type { Json } from '../../core/canonical-json.ts';
import type { ReportBatch } from '../../core/control-protocol.ts';
import type { Id } from '../../core/ids.ts';
import { countOriginsVia } from '../db/origins.ts';

/*
 * What the events of other servers cost here at most. Each has its whole log itself; here are the newest of it. A server that passes on
 * what it was told, and no longer holds all of it, says so under the numbers that are gone: those who hear it know no gaps.
 */

type Item = Extract<ReportBatch, { stream: 'events' }>['items'][number];

/** Kept of one server. */
const MOST_EVENTS = 100_000;
/** Kept of all that one child reports for; each has an equal share, and this many at least. */
const MOST_EVENTS_BY_CHILD = 2_000_000;
const LEAST_SHARE = 1_000;
/** What an event's data may weigh, as JSON; the rest of a longer one stays in the log of the server where it happened. */
const MAX_DATA_LENGTH = 16_384;

/** How many events are kept of each server that this child of ours reports for. */
export async function shareOfEvents(db: Knex, child: Id): Promise<number> {
  const share = Math.floor(MOST_EVENTS_BY_CHILD / Math.max(1, await countOriginsVia(db, child)));
  return Math.min(MOST_EVENTS, Math.max(LEAST_SHARE, share));
}

export function slimData<Data>(data: Data): Data | Record<string, Json> {
  return JSON.stringify(data).length <= MAX_DATA_LENGTH ? data : { truncated: true };
}

/** These events with one in place of each that is no longer here between `after` and the first; at most `limit`. */
export function withLost(origin: Id, items: Item[], { after, limit }: { readonly after: number; readonly limit: number }): Item[] {
  const [first] = items;
  if (first === undefined) return items;
  const count = Math.min(limit, first.seq - after - 1);
  const lost = { at: first.at, actor: 'system', kind: 'event.lost', subject: origin, data: {} };
  return [...Array.from({ length: count }, (_, n) => ({ ...lost, seq: after + 1 + n })), ...items].slice(0, limit);
}
