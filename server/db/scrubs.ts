import type { Knex } from 'knex';
import type { ScrubPosition } from '../../core/content-store.ts';
import { type Id, newIdAfter } from '../../core/ids.ts';

/** One pass of the scrub over a whole store. */
export type Scrub = {
  readonly id: Id;
  readonly revision: number;
  /** Where it goes on; null: at the beginning. */
  readonly position: ScrubPosition | null;
  readonly bytes: number;
  readonly chunks: number;
  readonly damages: number;
  readonly startedAt: number;
  readonly endedAt: number | null;
};

type Row = Record<string, string | number | null>;

/** Passes that are remembered. */
const KEPT = 50;

/** The pass of this server that is under way, begun when there is none. */
export async function openScrub(db: Knex, origin: Id, now: number): Promise<Scrub> {
  const row = await db<Row>('scrubs').where({ origin }).whereNull('ended_at').orderBy('id').first();
  if (row !== undefined) return toScrub(row);
  const newest = await db<Row>('scrubs').orderBy('id', 'desc').first('id');
  const id = newIdAfter(newest?.['id'] as Id | undefined, now);
  await db('scrubs').insert({ id, origin, revision: 1, started_at: now });
  return { id, revision: 1, position: null, bytes: 0, chunks: 0, damages: 0, startedAt: now, endedAt: null };
}

/** Writes down how far a pass is; undefined when somebody else went on with it. */
export async function updateScrub(db: Knex, { id, revision, ...scrub }: Scrub): Promise<Scrub | undefined> {
  const changed = await db('scrubs')
    .where({ id, revision })
    .update({
      pack: scrub.position?.pack ?? null,
      pack_offset: scrub.position?.offset ?? 0,
      bytes: scrub.bytes,
      chunks: scrub.chunks,
      damages: scrub.damages,
      ended_at: scrub.endedAt,
      revision: revision + 1,
    });
  return changed === 1 ? { id, revision: revision + 1, ...scrub } : undefined;
}

/** The pass under way and the last one that ended, where there are such. */
export async function getScrubs(db: Knex, origin: Id): Promise<{ readonly current: Scrub | null; readonly last: Scrub | null }> {
  const of = () => db<Row>('scrubs').where({ origin }).orderBy('id', 'desc');
  const [current, last] = [await of().whereNull('ended_at').first(), await of().whereNotNull('ended_at').first()];
  return { current: current === undefined ? null : toScrub(current), last: last === undefined ? null : toScrub(last) };
}

/** Forgets all but the newest passes. */
export async function pruneScrubs(db: Knex, origin: Id): Promise<void> {
  const newestToGo = await db<Row>('scrubs').where({ origin }).orderBy('id', 'desc').offset(KEPT).first('id');
  if (newestToGo !== undefined) await db<Row>('scrubs').where({ origin }).where('id', '<=', newestToGo['id']).delete();
}

function toScrub(row: Row): Scrub {
  return {
    id: row['id'] as Id,
    revision: Number(row['revision']),
    position: row['pack'] === null ? null : { pack: String(row['pack']), offset: Number(row['pack_offset']) },
    bytes: Number(row['bytes']),
    chunks: Number(row['chunks']),
    damages: Number(row['damages']),
    startedAt: Number(row['started_at']),
    endedAt: row['ended_at'] === null ? null : Number(row['ended_at']),
  };
}
