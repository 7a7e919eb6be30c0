import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { BuiltArchive, ContentStore } from '../../core/content-store.ts';
import { digestOf } from '../../core/envelope.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import { encodingsFor } from '../../core/negotiate.ts';
import type { ArchivePlan, ArchiveRequest } from '../../core/sync-protocol.ts';
import { completeOf } from '../../sync/replicate/bases.ts';
import { listOfferedManifests } from '../db/replicas.ts';
import type { Site } from '../site.ts';
import { type BuildTurns, createBuildTurns } from './build-turns.ts';

/** How long a request waits for its archive before it is told `building`: a small one costs one request. */
const WAIT_MS = 10_000;

type Build = { readonly done: Promise<BuiltArchive>; doneBytes: number; totalBytes: number };

/** For who wants only what we do not hold: there is no such archive, and nobody fetches it. */
const NOTHING: ArchivePlan = { key: '0'.repeat(64), state: 'ready', doneBytes: 0, totalBytes: 0, parts: [] };

/** Archives that this process was asked for: those being built by their request, those that are ready by their key. */
type Shelf = { readonly building: Map<string, Build>; readonly ready: Map<string, BuiltArchive>; readonly turns: BuildTurns };

/** Those asked for last; who comes for another one is told to ask again, and goes on. */
const MOST_READY = 1_000;

/** One shelf per opened store; it holds nothing that a new process could not ask the store for again. */
const SHELVES = new WeakMap<ContentStore, Shelf>();

/**
 * The archive for have -> want, or how far its building is. The same request from many children builds once; of different ones of
 * one `asker` (a server's id) the first is built first, the others are `building` without having come anywhere until then.
 * Throws `not_found` when something wanted is not an image that we publish (unless the request is `partial`), `not_permitted` for single
 * chunks that are not of a wanted manifest: a child may not fish for content by digest; `busy` for too many within an hour.
 */
export async function offerArchive(site: Site, request: ArchiveRequest, asker: string): Promise<ArchivePlan> {
  const asked = request.want as Digest[];
  const offered = await listOfferedManifests(site.db, asked);
  const [foreign, ...more] = asked.filter((manifest) => !offered.includes(manifest));
  if (foreign !== undefined && !request.partial) throw notOffered(foreign);
  const absent = foreign === undefined ? {} : { absent: [foreign, ...more] };
  const wanted = asked.filter((manifest) => offered.includes(manifest));
  if (wanted.length === 0 && asked.length > 0) return { ...NOTHING, ...absent };
  if (request.wantChunks !== undefined && request.wantChunks.length > 0) {
    const wantChunks = await chunksToGive(site, wanted, { digests: request.wantChunks as Digest[], isExact: foreign === undefined });
    return { ...(await offer(site, { have: [], want: [], wantChunks }, asker)), ...absent };
  }
  const have = await completeOf(site.store, request.have as Digest[]);
  const encodings = encodingsFor(request.encodings);
  return { ...(await offer(site, { have, want: wanted, encodings }, asker)), ...absent };
}

type Wish = Parameters<ContentStore['buildArchive']>[0];

async function offer(site: Site, wish: Wish, asker: string): Promise<ArchivePlan> {
  const key = digestOf(JSON.parse(JSON.stringify(wish)));
  const build = findOrStart(site, { key, wish, asker });
  if (build === undefined) return { key: key.slice(7), state: 'building', doneBytes: 0, totalBytes: 0, parts: [] };
  const ready = await Promise.race([build.done, delay(WAIT_MS)]);
  if (ready === undefined)
    return { key: key.slice(7), state: 'building', doneBytes: build.doneBytes, totalBytes: build.totalBytes, parts: [] };
  const totalBytes = ready.parts.reduce((sum, part) => sum + part.sizeBytes, 0);
  return { key: ready.key, state: 'ready', doneBytes: totalBytes, totalBytes, parts: [...ready.parts] };
}

/**
 * The chunks asked for that are here. What is in none of the manifests is refused, unless pages of ours are missing or
 * manifests were left out: then nobody can tell, and it counts as not here.
 */
async function chunksToGive(
  site: Site,
  manifests: readonly Digest[],
  { digests, isExact }: { digests: readonly Digest[]; isExact: boolean },
): Promise<Digest[]> {
  const owned = new Set((await site.store.ownersOf(digests, manifests)).flatMap((owner) => owner.digests));
  const lacking = new Set(await site.store.lackingOf(manifests));
  const foreign = digests.find((digest) => !owned.has(digest));
  if (foreign !== undefined && isExact && lacking.size === 0) throw notOfThese(foreign);
  return [...owned].filter((digest) => !lacking.has(digest)).sort();
}

/** An archive that was offered by this process and is still whole. Throws `not_found`: the child asks for it again and goes on. */
export async function takeArchive(site: Site, key: string): Promise<BuiltArchive> {
  const { ready } = shelfOf(site);
  const archive = ready.get(key);
  if (archive !== undefined && (await isWhole(archive))) return archive;
  ready.delete(key);
  throw new AppError('not_found', 'this archive is not on the shelf', { hint: 'ask for it again' });
}

/** The store may have evicted what nobody fetched for long. */
async function isWhole(archive: BuiltArchive): Promise<boolean> {
  // A part that cannot be looked at is not whole: the archive is built again, and that says what is wrong.
  const sizes = await Promise.all(archive.parts.map(({ name }) => stat(join(archive.directory, name)).catch(() => undefined)));
  return sizes.every((found, n) => found?.size === archive.parts[n]?.sizeBytes);
}

/** Undefined when another archive of the same asker is under way. */
function findOrStart(site: Site, { key, wish, asker }: { key: string; wish: Wish; asker: string }): Build | undefined {
  const shelf = shelfOf(site);
  const running = shelf.building.get(key);
  if (running !== undefined) return running;
  if (!shelf.turns.begin(asker, { key, what: wish.wantChunks === undefined ? 'archive' : 'chunks' })) return undefined;
  const build: Build = {
    doneBytes: 0,
    totalBytes: 0,
    done: site.store
      .buildArchive(wish, (doneBytes, totalBytes) => Object.assign(build, { doneBytes, totalBytes }))
      .then((built) => {
        keepReady(shelf.ready, built);
        return built;
      })
      .finally(() => {
        shelf.building.delete(key);
        shelf.turns.end(asker, key);
      }),
  };
  shelf.building.set(key, build);
  // Whoever asked may be gone when it fails; the next one who asks starts it again and is told.
  build.done.catch((error) => site.log.error('an archive could not be built', { error: String(error) }));
  return build;
}

function keepReady(ready: Shelf['ready'], built: BuiltArchive): void {
  // Behind all others: the first is the one that was asked for longest ago.
  ready.delete(built.key);
  ready.set(built.key, built);
  for (const oldest of ready.keys()) if (ready.size > MOST_READY) ready.delete(oldest);
}

function shelfOf(site: Site): Shelf {
  const found = SHELVES.get(site.store) ?? {
    building: new Map(),
    ready: new Map(),
    turns: createBuildTurns(() => performance.now()),
  };
  SHELVES.set(site.store, found);
  return found;
}

function delay(ms: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(() => resolve(undefined), ms).unref());
}

function notOffered(manifest: Digest): AppError {
  return new AppError('not_found', `${manifest} is not the manifest of an image that this server publishes`, {
    hint: 'it may have been deleted: run again',
  });
}

function notOfThese(digest: Digest): AppError {
  return new AppError('not_permitted', `${digest} is in none of the images that it was asked for with`, {
    hint: 'name the manifests that the chunk belongs to',
  });
}
