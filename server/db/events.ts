import type { Knex } from 'knex';
import type { Json } from '../../core/canonical-json.ts';
import type { Id } from '../../core/ids.ts';
import { joinTransaction } from './open.ts';

/** Something that happened. `subject` is the id of what it happened to; `actor` who did it (`operator:<id>`, `agent:<id>`, `server:<id>`, `system`). */
export type NewEvent = {
  readonly origin: Id;
  /** Epoch milliseconds; for people, never for order. */
  readonly at: number;
  readonly actor: string;
  readonly kind: string;
  readonly subject: string;
  readonly data?: Readonly<Record<string, Json | undefined>>;
};

export type StoredEvent = Required<NewEvent> & { readonly seq: number };

/**
 * Appends one event in the caller's transaction (or in one of its own) and returns its number: one more than the origin's
 * last. The origin's row in `servers` is locked first, so that writers on one database stand in line.
 */
export function appendEvent(db: Knex, event: NewEvent): Promise<number> {
  return joinTransaction(db, async (trx) => {
    await trx('servers').where({ id: event.origin }).forUpdate().first('id');
    const seq = (await newestEvent(trx, event.origin)) + 1;
    await trx('events').insert({
      origin: event.origin,
      seq,
      at: event.at,
      actor: event.actor.slice(0, 128),
      kind: event.kind,
      subject: event.subject,
      data: JSON.stringify(event.data ?? {}),
    });
    return seq;
  });
}

/** Events in order of their number, at most `limit` (default 100), after `since`, of one origin or one subject where given. */
export async function listEvents(
  db: Knex,
  query: { readonly since?: number; readonly subject?: string; readonly origin?: Id; readonly limit?: number } = {},
): Promise<readonly StoredEvent[]> {
  const find = db('events').where('seq', '>', query.since ?? 0);
  if (query.subject !== undefined) find.where({ subject: query.subject });
  if (query.origin !== undefined) find.where({ origin: query.origin });
  const rows = await find.orderBy([{ column: 'seq' }, { column: 'origin' }]).limit(query.limit ?? 100);
  return rows.map((row) => ({
    origin: row.origin,
    seq: Number(row.seq),
    at: Number(row.at),
    actor: row.actor,
    kind: row.kind,
    subject: row.subject,
    data: JSON.parse(row.data),
  }));
}

/** The number of an origin's newest event; 0 when there is none. */
export async function newestEvent(db: Knex, origin: Id): Promise<number> {
  const row = await db('events').where({ origin }).orderBy('seq', 'desc').first('seq');
  return Number(row?.seq ?? 0);
}

/** Stores events of another server as they are: their numbers are its own. */
export async function insertEvents(db: Knex, events: readonly StoredEvent[]): Promise<void> {
  for (const { data, ...event } of events) await db('events').insert({ ...event, data: JSON.stringify(data) });
}

/** Forgets an origin's events up to a number. */
export async function trimEvents(trx: Knex, origin: Id, upTo: number): Promise<void> {
  if (upTo > 0) await trx('events').where({ origin }).where('seq', '<=', upTo).delete();
}
