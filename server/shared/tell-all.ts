import { freshReportState, reportOnce } from '../control/report.ts';
import { newestEvent } from '../db/events.ts';
import { newestMade } from '../db/objects.ts';
import { newestChange } from '../db/outbox.ts';
import { countShared } from '../db/shared/reports.ts';
import { getStream, type SharedStream } from '../db/shared/streams.ts';
import type { Site } from '../site.ts';
import type { Shared } from './open.ts';
import { sharedListener, tellObjects, tellSigners } from './tell.ts';

/** What this server has of its own to tell, and what the shared database has of it. */
export type Told = {
  readonly what: 'events' | 'things' | 'objects';
  /** Rows here, and there. Events that are older than the shared tables keep them are fewer there. */
  readonly here: number;
  readonly there: number;
  /** The number of the newest one, here and there: what is told is told when they are the same. */
  readonly newestHere: number;
  readonly newestThere: number;
};

const WHAT = 'comparing with the shared database';
const TABLES = { events: 'shared_events', things: 'shared_reports', objects: 'shared_objects' } as const;
const STREAMS: { readonly [What in Told['what']]: SharedStream } = { events: 'events', things: 'states', objects: 'objects' };

/** Compares; changes nothing. */
export async function compareTold(site: Site, shared: Shared): Promise<Told[]> {
  const origin = site.self.id;
  const count = async (table: string, where: object): Promise<number> =>
    Number((await site.db(table).where(where).count({ count: '*' }).first())?.['count'] ?? 0);
  const own = {
    events: { here: await count('events', { origin }), newest: await newestEvent(site.db, origin) },
    things: { here: await count('outbox', {}), newest: await newestChange(site.db) },
    objects: { here: await count('objects', { origin }), newest: await newestMade(site.db, origin) },
  };
  return Promise.all(
    (['events', 'things', 'objects'] as const).map(async (what) => {
      const there = await shared.read(WHAT, (db) => countShared(db, TABLES[what], origin));
      const newestThere = await shared.read(WHAT, (db) => getStream(db, origin, STREAMS[what]));
      return { what, here: own[what].here, there, newestHere: own[what].newest, newestThere };
    }),
  );
}

/**
 * Tells all that is not told yet, in order, from where the database says that it is: killed at any moment it goes on there
 * the next time. Returns how it stands then. Errors: those of `Shared`.
 */
export async function tellAll(site: Site, shared: Shared, signal: AbortSignal): Promise<Told[]> {
  await tellSigners(site, shared);
  await tellObjects(site, shared, undefined);
  const state = freshReportState();
  while (!signal.aborted && (await reportOnce(site, sharedListener(site, shared), state, signal)));
  return compareTold(site, shared);
}

/** Whether nothing is left to be told. */
export function isAllTold(told: readonly Told[]): boolean {
  return told.every(({ newestHere, newestThere }) => newestHere <= newestThere);
}
