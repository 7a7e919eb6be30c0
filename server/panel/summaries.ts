import { ServerReport } from '../../core/control-protocol.ts';
import type { Id } from '../../core/ids.ts';
import type { TreeServer } from '../../core/server-tree.ts';
import { listServerMarks, readServerReports } from '../db/reported.ts';
import type { Site } from '../site.ts';

/** What a list shows of a server's report: its images are counted. */
export type Summary = Pick<ServerReport, 'name' | 'version' | 'disk' | 'run' | 'link' | 'alarms'> & {
  readonly images: NonNullable<TreeServer['images']> & { readonly firstError: string | null };
};

/** A report as it came, with when that was (epoch ms). */
export type KeptSummary = { readonly seq: number; readonly at: number; readonly summary: Summary | undefined };

const kept = new WeakMap<Site['wake'], Map<Id, KeptSummary>>();

/**
 * The newest report of every server below, read again only when it has changed: with 500 branches a list that is looked at every few
 * seconds costs one statement. A report of another shape than ours is kept as undefined.
 */
export async function listSummaries(site: Pick<Site, 'db' | 'wake'>): Promise<ReadonlyMap<Id, KeptSummary>> {
  const known = kept.get(site.wake) ?? new Map<Id, KeptSummary>();
  kept.set(site.wake, known);
  const marks = await listServerMarks(site.db);
  const stale = marks.filter(({ origin, seq }) => known.get(origin)?.seq !== seq).map(({ origin }) => origin);
  for await (const { origin, seq, at, body } of readServerReports(site.db, stale)) {
    const report = ServerReport.safeParse(body).data;
    known.set(origin, { seq, at, summary: report && summarise(report) });
  }
  const there = new Set(marks.map(({ origin }) => origin));
  for (const id of known.keys()) if (!there.has(id)) known.delete(id);
  return known;
}

/** Counts what a server tells of its images. */
export function summarise({ name, version, disk, run, link, alarms, images }: ServerReport): Summary {
  const wanted = images.filter(isWanted);
  const failing = images.filter(({ error }) => error !== undefined);
  return {
    ...{ name, version, disk, run, link, alarms },
    images: {
      wanted: wanted.length,
      held: wanted.filter(({ state }) => state === 'published').length,
      failing: failing.length,
      missingBytes: images.reduce((sum, { missingBytes = 0 }) => sum + missingBytes, 0),
      firstError: failing.map(({ reference, error }) => `${reference}: ${error}`)[0] ?? null,
    },
  };
}

/** Servers of release 0.1 do not say it: what is missing or here is wanted. */
function isWanted({ state, wanted, missingBytes = 0 }: ServerReport['images'][number]): boolean {
  if (wanted === false || state === 'deleted') return false;
  return state === 'published' || state === 'arriving' || missingBytes > 0;
}
