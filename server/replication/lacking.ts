import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Digest } from '../../core/ids.ts';
import type { ImageBody } from '../../core/image.ts';
import type { ArchivePart } from '../../core/sync-protocol.ts';
import { findLacking } from '../../sync/replicate/diff.ts';
import { EMPTY_PLAN, parsePlan, type RunPlan, sumBytes } from '../../sync/replicate/plan.ts';
import type { VerifiedCatalogue } from '../../sync/replicate/ports.ts';
import { type Lacking, type Link, updateLinkForecast } from '../db/links.ts';
import { listPublishedManifests } from '../db/replicas.ts';
import { findUnfinishedRun, getPlan, type Run, type RunHead } from '../db/runs.ts';
import { getServer } from '../db/servers.ts';
import { relatedManifests } from '../holdings/related.ts';
import { imagesOf, wantedManifests } from '../holdings/wanted.ts';
import type { Site } from '../site.ts';
import { keptWork } from './kept-work.ts';
import { openParent } from './parent-client.ts';

/**
 * What an archive comes to before it is built, by what it is for: measured on Debian images, a first version is a third of
 * the used bytes, a successor less than a tenth.
 */
const ESTIMATE = { first: 0.35, successor: 0.1 } as const;

/**
 * How much of the parent's content is still to come, without fetching any of it: catalogue, comparison and archive request
 * as a run makes them. Exact when the archive is built (or a run is at it), else an estimate; while the parent builds, asking again
 * gives the exact figure. It is kept for `sync status`. Throws what talking to the parent throws.
 */
export async function askLacking(site: Site, link: Link): Promise<Lacking> {
  const running = await findUnfinishedRun(site.db, link.id);
  const lacking = (running && (await lackingOf(site, running))) ?? (await askParent(site, link));
  await updateLinkForecast(site.db, link.id, lacking);
  return lacking;
}

/** What a run lacks that has come as far as its archive. */
export async function lackingOf(site: Site, { id }: Pick<RunHead, 'id'>): Promise<Lacking | undefined> {
  const plan = parsePlan(await getPlan(site.db, id));
  if (plan?.archive === null || plan?.archive === undefined) return undefined;
  return { bytes: await bytesLeft(site, { parts: plan.archive.parts, unpacked: plan.unpacked }), exact: true, at: site.now() };
}

/** Keeps what a run that ended before it was done has left over. */
export async function rememberLacking(site: Site, run: Run): Promise<void> {
  if (run.state === 'done') return;
  const lacking = await lackingOf(site, run);
  if (lacking !== undefined) await updateLinkForecast(site.db, run.linkId, lacking);
}

async function askParent(site: Site, link: Link): Promise<Lacking> {
  const known = await getServer(site.db, link.parentId);
  if (known === undefined) throw new Error(`link ${link.id} names a server that is not there`);
  const parent = openParent(site, { parent: known, link, waitMs: 0 });
  let isSound = false;
  try {
    const catalogue = await parent.read();
    const plan = await compare(site, link, catalogue);
    const archive = plan.want.length === 0 ? undefined : await parent.requestArchive(plan);
    isSound = true;
    if (archive?.state === 'building')
      return { bytes: await estimateBytes(site.db, plan.want, catalogue.objects), exact: false, at: site.now() };
    const { unpacked } = await keptWork(site, link);
    return { bytes: await bytesLeft(site, { parts: archive?.parts ?? [], unpacked }), exact: true, at: site.now() };
  } finally {
    parent.close(isSound);
  }
}

async function compare(site: Site, link: Link, catalogue: VerifiedCatalogue): Promise<RunPlan> {
  const records = {
    wantedManifests: (objects: VerifiedCatalogue['objects']) => wantedManifests(site.db, link.id, objects),
    relatedManifests: (wanted: readonly Digest[], objects: VerifiedCatalogue['objects']) => relatedManifests(site.db, wanted, objects),
  };
  // Room is the run's affair: a plan may well say what there is no room for yet.
  const room = { freeBytes: async () => Number.POSITIVE_INFINITY, reserveBytes: 0, incoming: site.dataDir };
  const { plan } = await findLacking({ store: site.store, records, ...room }, { ...EMPTY_PLAN, catalogue });
  return plan;
}

/** What an archive for these manifests may come to, by image: one whose name is not held here is a first one, whatever else is. */
export async function estimateBytes(db: Site['db'], want: readonly Digest[], objects: VerifiedCatalogue['objects']): Promise<number> {
  const images = await imagesOf(db, want, objects);
  const held = await listPublishedManifests(db, [...new Set(images.map(({ name }) => name))]);
  const isSuccessor = ({ name, kind }: ImageBody) => held.some((one) => one.name === name && one.kind === kind);
  return Math.round(images.reduce((sum, image) => sum + image.usedBytes * (isSuccessor(image) ? ESTIMATE.successor : ESTIMATE.first), 0));
}

async function bytesLeft(site: Site, given: { parts: readonly ArchivePart[]; unpacked: readonly string[] }): Promise<number> {
  const left = given.parts.filter(({ name }) => !given.unpacked.includes(name));
  const sizes = left.map(async ({ name, sizeBytes }) => {
    // What is not there yet has brought nothing.
    const begun = await stat(join(site.dataDir, 'store', 'incoming', name, name)).catch(() => undefined);
    return Math.min(sizeBytes, begun?.size ?? 0);
  });
  return sumBytes(left) - (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}
