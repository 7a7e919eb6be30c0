import { AppError, describeError, type ErrorCode } from '../../core/errors.ts';
import type { Image } from '../../core/image.ts';
import { type RunPlan, sumBytes } from '../../sync/replicate/plan.ts';
import type { RunRecords } from '../../sync/replicate/ports.ts';
import { appendEvent } from '../db/events.ts';
import { listLinks } from '../db/links.ts';
import { getObject, takeGeneration } from '../db/objects.ts';
import { inTransaction } from '../db/open.ts';
import { reachOf } from '../db/origins.ts';
import { listPeers } from '../db/peers.ts';
import { listKnownImages, raiseReplica, renumberObject } from '../db/replicas.ts';
import { listReported } from '../db/reported.ts';
import { admitImage, IMAGES } from '../holdings/activation.ts';
import { relatedPublished } from '../holdings/related.ts';
import { CATALOGUE } from '../replication/wait-for-news.ts';
import type { Site } from '../site.ts';
import { fetchFrom, startFor } from './offers/fetch.ts';
import { type ServerBelow, serverName } from './servers-below.ts';

/** What may pass by itself: it is tried again. */
const TEMPORARY: readonly ErrorCode[] = ['unreachable', 'busy', 'disk_full', 'waiting', 'run_in_progress', 'cancelled', 'not_running'];
/** A report may name 500 images: reading more of them at once would hold up the loop. */
const REPORTS_AT_ONCE = 5;
/** Servers that come back after a restore report within seconds; what nobody has then is looked for seldom. */
const FIRST_PAUSE_MS = 2_000;
const LONGEST_PAUSE_MS = 600_000;

/** What is remembered between two looks: who refused, and when to look again. */
export type FetchingBack = { readonly refused: Set<string>; pauseMs: number };

export function startFetchingBack(): FetchingBack {
  return { refused: new Set(), pauseMs: FIRST_PAUSE_MS };
}

/**
 * Fetches the content of images that no parent of ours can have, and that is not here (a restore from a backup without content), from
 * servers below that hold it: our own images, and with no parent at all any. Who refuses is not asked again. What nobody has stays
 * shown as not held. Gives after how many ms to look again; undefined when nothing is missing.
 */
export async function fetchBack(site: Site, state: FetchingBack, signal: AbortSignal): Promise<number | undefined> {
  const isRoot = (await listLinks(site.db)).length === 0;
  // What is known of servers that meet us in a database was never here.
  const peers = new Set((await listPeers(site.db)).map(({ id }) => id));
  const lacking = (await listKnownImages(site.db)).filter(({ origin }) => origin === site.self.id || (isRoot && !peers.has(origin)));
  if (lacking.length === 0) return undefined;
  let fetched = 0;
  const holders = await findHolders(site, lacking);
  for (const image of lacking) if (await fetchFromAny(site, { image, holders: holders.get(image.id) ?? [], state }, signal)) fetched += 1;
  state.pauseMs = fetched > 0 ? FIRST_PAUSE_MS : Math.min(LONGEST_PAUSE_MS, 2 * state.pauseMs);
  return state.pauseMs;
}

type Attempt = { readonly image: Image; readonly holders: readonly ServerBelow[]; readonly state: FetchingBack };

async function fetchFromAny(site: Site, { image, holders, state }: Attempt, signal: AbortSignal): Promise<boolean> {
  for (const holder of holders) {
    const attempt = `${image.id} ${holder.id}`;
    if (signal.aborted) return false;
    if (state.refused.has(attempt)) continue;
    try {
      await fetchImage(site, { image, holder }, signal);
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      const { code, message } = describeError(error);
      site.log.warn('content was not fetched back', { image: image.id, server: holder.name, code, error: message });
      if (!TEMPORARY.includes(code)) state.refused.add(attempt);
    }
  }
  return false;
}

/** Servers below that say that they hold these images, by the image's id. */
async function findHolders(site: Site, images: readonly Image[]): Promise<ReadonlyMap<string, readonly ServerBelow[]>> {
  const found = new Map<string, ServerBelow[]>();
  for (let after: string | undefined; ; ) {
    const reports = await listReported(site.db, 'server', { after, limit: REPORTS_AT_ONCE });
    for (const { origin, body } of reports) {
      const references = publishedIn(body);
      const held = images.filter(({ name, version }) => references.has(`${name}@${version}`));
      const via = held.length > 0 ? await reachOf(site.db, origin) : undefined;
      if (!via) continue;
      const holder = { id: origin, via, name: await serverName(site.db, origin) };
      for (const { id } of held) found.set(id, [...(found.get(id) ?? []), holder]);
    }
    after = reports.at(-1)?.subject;
    if (reports.length < REPORTS_AT_ONCE) return found;
  }
}

function publishedIn(body: unknown): ReadonlySet<string> {
  const { images } = (body ?? {}) as { images?: readonly { reference?: unknown; state?: unknown }[] };
  const published = (Array.isArray(images) ? images : []).filter(({ state }) => state === 'published');
  return new Set(published.map(({ reference }) => String(reference)));
}

type Wish = { readonly image: Image; readonly holder: ServerBelow };

async function fetchImage(site: Site, { image, holder }: Wish, signal: AbortSignal): Promise<void> {
  const object = await getObject(site.db, image.id);
  if (object === undefined) throw new Error(`image ${image.id} has no object`);
  const start = startFor(object);
  let failure: AppError | undefined;
  const records = recordsOf(site, { image, holder }, start, (error) => {
    failure = error;
  });
  const state = await fetchFrom(site, holder, { start, records, signal });
  if (state !== 'done') throw failure ?? new AppError('failed', `the fetching of ${image.id} ended as ${state}`);
}

/** Nothing of it is kept on disk: parts that have come lie in the store, and the next attempt asks for the rest. */
function recordsOf(site: Site, { image, holder }: Wish, start: RunPlan, onFailure: (error: AppError) => void): RunRecords {
  let plan = start;
  return {
    async save(change) {
      plan = change.plan ?? plan;
      if (change.error !== undefined) onFailure(change.error);
    },
    wantedManifests: async () => [image.manifest],
    relatedManifests: (wanted, objects) => relatedPublished(site.db, wanted, objects),
    publish: () => raise(site, { image, holder }, sumBytes(plan.archive?.parts ?? [])),
  };
}

async function raise(site: Site, { image, holder }: Wish, bytes: number): Promise<void> {
  const at = site.now();
  await inTransaction(site.db, async (trx) => {
    const generation = await takeGeneration(trx);
    if (!(await raiseReplica(trx, image.id, { storedBytes: bytes, at }))) return;
    await renumberObject(trx, image.id, generation);
    await admitImage(site, trx, image.id, false);
    const data = { reference: `${image.name}@${image.version}`, from: holder.name, bytes };
    await appendEvent(trx, { origin: site.self.id, at, actor: 'system', kind: 'image.fetched-back', subject: image.id, data });
  });
  site.log.info('content was fetched back', { image: image.id, server: holder.name });
  for (const topic of [IMAGES, CATALOGUE, 'events', 'runs']) site.wake.notify(topic);
}
