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
import { relatedManifests } from '../holdings/wanted.ts';
import { CATALOGUE } from '../replication/wait-for-news.ts';
import type { Site } from '../site.ts';
import { fetchFrom, startFor } from './offers/fetch.ts';
import { type ServerBelow, serverName } from './servers-below.ts';

/** What may pass by itself: it is tried again. */
const TEMPORARY: readonly ErrorCode[] = ['unreachable', 'busy', 'disk_full', 'waiting', 'run_in_progress', 'cancelled', 'not_running'];
const MOST_SERVERS = 10_000;

/**
 * Fetches the content of images that no parent of ours can have, and that is not here (a restore from a backup without content), from
 * servers below that hold it: our own images, and with no parent at all any. Who refuses is in `refused` and is not asked again. What
 * nobody has stays shown as not held.
 */
export async function fetchBack(site: Site, refused: Set<string>, signal: AbortSignal): Promise<void> {
  const isRoot = (await listLinks(site.db)).length === 0;
  // What is known of servers that meet us in a database was never here.
  const peers = new Set((await listPeers(site.db)).map(({ id }) => id));
  const lacking = (await listKnownImages(site.db)).filter(({ origin }) => origin === site.self.id || (isRoot && !peers.has(origin)));
  for (const image of lacking) {
    for (const holder of await holdersOf(site, image)) {
      const attempt = `${image.id} ${holder.id}`;
      if (signal.aborted) return;
      if (refused.has(attempt)) continue;
      try {
        await fetchImage(site, { image, holder }, signal);
        break;
      } catch (error) {
        if (signal.aborted) return;
        const { code, message } = describeError(error);
        site.log.warn('content was not fetched back', { image: image.id, server: holder.name, code, error: message });
        if (!TEMPORARY.includes(code)) refused.add(attempt);
      }
    }
  }
}

/** Servers below that say that they hold it. */
async function holdersOf(site: Site, { name, version }: Image): Promise<readonly ServerBelow[]> {
  const holders: ServerBelow[] = [];
  for (const { origin, body } of await listReported(site.db, 'server', { limit: MOST_SERVERS })) {
    const { images } = (body ?? {}) as { images?: readonly { reference?: unknown; state?: unknown }[] };
    const holds =
      Array.isArray(images) && images.some(({ reference, state }) => reference === `${name}@${version}` && state === 'published');
    const via = holds ? await reachOf(site.db, origin) : undefined;
    if (via) holders.push({ id: origin, via, name: await serverName(site.db, origin) });
  }
  return holders;
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
    relatedManifests: (wanted, objects) => relatedManifests(site.db, wanted, objects),
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
