import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { canonicalJson } from '../../core/canonical-json.ts';
import { DELTA_ENCODER, PLAIN_ENCODER } from '../../core/content/encoder.ts';
import type { FrameEncoding } from '../../core/content/frame.ts';
import type { BuiltArchive, OnProgress } from '../../core/content-store.ts';
import { AppError } from '../../core/errors.ts';
import type { Digest } from '../../core/ids.ts';
import { ArchivePart } from '../../core/sync-protocol.ts';
import { buildParts, type Request, requireWanted } from './build-archive.ts';
import { asStoreError, publishFile, syncDirectory, temporaryBeside, writeFileDurably } from './durable.ts';
import { hashFileHex } from './part-writer.ts';
import type { Store } from './store.ts';

export type ArchiveRequest = {
  readonly have: readonly Digest[];
  readonly want: readonly Digest[];
  readonly wantChunks?: readonly Digest[];
  /** What the receiver can unpack; absent: raw and zstd. */
  readonly encodings?: readonly FrameEncoding[];
};

/*
 * archives/<key>/ holds the parts of one archive and nothing else (rsync serves the directory), and
 * archives/<key>.json says which; an archive without that file is not finished. Its time is that of the last use.
 */
export type Archives = {
  build(request: ArchiveRequest, onProgress: OnProgress): Promise<BuiltArchive>;
  /** Keeps an archive from eviction until it is released as often as it was held. */
  hold(key: string): void;
  release(key: string): void;
};

export type ArchiveLimits = {
  /** Archives are evicted, oldest use first, when all together take more. */
  readonly cacheBytes: number;
  /** One that was asked for this lately stays: its reader may be on the way. */
  readonly keepMs: number;
};

type Building = { readonly done: Promise<BuiltArchive>; readonly listeners: Set<OnProgress> };

export function createArchives(store: Store, limits: ArchiveLimits): Archives {
  const building = new Map<string, Building>();
  const trusted = new Map<string, number>();
  const held = new Map<string, number>();

  function begin(key: string, request: Request): Building {
    const listeners = new Set<OnProgress>();
    const tell: OnProgress = (done, total) => {
      for (const listener of listeners) listener(done, total);
    };
    const done = findOrBuild(store, { key, request, trusted }, tell).finally(() => building.delete(key));
    const begun = { done, listeners };
    building.set(key, begun);
    return begun;
  }

  const isInUse = (key: string): boolean => held.has(key) || building.has(key);

  return {
    async build(asked, onProgress) {
      const request = canonicalRequest(store, asked);
      requireWanted(store, request);
      const key = archiveKey(request);
      const { done, listeners } = building.get(key) ?? begin(key, request);
      listeners.add(onProgress);
      const archive = await done;
      await evict(store, limits, isInUse);
      return archive;
    },
    hold: (key) => void held.set(key, (held.get(key) ?? 0) + 1),
    release(key) {
      const left = (held.get(key) ?? 0) - 1;
      if (left > 0) held.set(key, left);
      else held.delete(key);
    },
  };
}

/** Sorted, each once, without have-manifests that are not here: requests that mean the same are the same. */
function canonicalRequest(store: Store, asked: ArchiveRequest): Request {
  const sorted = (digests: readonly Digest[]): Digest[] => [...new Set(digests)].sort();
  return {
    have: sorted(asked.have).filter((digest) => store.index.has(digest)),
    want: sorted(asked.want),
    wantChunks: sorted(asked.wantChunks ?? []),
    encoder: asked.encodings?.includes('zstd-base') ? DELTA_ENCODER : PLAIN_ENCODER,
  };
}

function archiveKey(request: Request): string {
  return createHash('sha256').update(canonicalJson(request)).digest('hex');
}

/** `trusted` holds when an archive's octets were last known to be right (epoch milliseconds). */
type Wish = { readonly key: string; readonly request: Request; readonly trusted: Map<string, number> };

/** Long enough that a night's worth of branches costs one reading; short enough that damage is gone by the next night. */
const TRUST_MS = 60 * 60_000;

async function findOrBuild(store: Store, { key, request, trusted }: Wish, onProgress: OnProgress): Promise<BuiltArchive> {
  const found = await findArchive(store, key);
  const isTrusted = Date.now() - (trusted.get(key) ?? Number.NEGATIVE_INFINITY) < TRUST_MS;
  if (found && (isTrusted || (await isUndamaged(found)))) {
    if (!isTrusted) trust(trusted, key);
    return found;
  }
  const directory = join(store.paths.archives, key);
  const temporary = temporaryBeside(directory);
  try {
    await mkdir(temporary, { mode: 0o700 });
    const parts = await store.pins.withRoots([...request.have, ...request.want], () => buildParts(store, request, temporary, onProgress));
    await syncDirectory(temporary);
    await rm(directory, { recursive: true, force: true });
    await publishFile(temporary, directory);
    await writeFileDurably(`${directory}.json`, Buffer.from(canonicalJson({ parts })));
    trust(trusted, key);
    return { key, directory, parts };
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw asStoreError(error, 'building an archive');
  }
}

/** What is trusted no longer is forgotten: the map holds the archives of an hour. */
function trust(trusted: Map<string, number>, key: string): void {
  const now = Date.now();
  trusted.set(key, now);
  for (const [one, at] of trusted) if (now - at >= TRUST_MS) trusted.delete(one);
}

/** Whether the parts still are what their names say: a child refuses others, and would be given them again and again. */
async function isUndamaged({ directory, parts }: BuiltArchive): Promise<boolean> {
  for (const { name } of parts) if ((await hashFileHex(join(directory, name))) !== name) return false;
  return true;
}

const Saved = z.object({ parts: z.array(ArchivePart) });

/** An archive whose files are all there with their sizes; undefined when there is none. */
async function findArchive(store: Store, key: string): Promise<BuiltArchive | undefined> {
  const directory = join(store.paths.archives, key);
  try {
    const { parts } = Saved.parse(JSON.parse(await readFile(`${directory}.json`, 'utf8')));
    for (const part of parts) {
      if ((await stat(join(directory, part.name))).size !== part.sizeBytes) return undefined;
    }
    const now = new Date();
    await utimes(`${directory}.json`, now, now);
    return { key, directory, parts };
  } catch (error) {
    // Not there, or not whole: it is built again, from the packs, to the same octets.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || error instanceof SyntaxError || error instanceof z.ZodError) return undefined;
    throw error;
  }
}

async function evict(store: Store, limits: ArchiveLimits, isInUse: (key: string) => boolean): Promise<void> {
  const archives = await listArchives(store);
  let total = archives.reduce((sum, archive) => sum + archive.bytes, 0);
  for (const { key, bytes, usedAt } of archives.sort((a, b) => a.usedAt - b.usedAt)) {
    if (total <= limits.cacheBytes) return;
    if (isInUse(key) || Date.now() - usedAt < limits.keepMs) continue;
    await removeArchive(store, key);
    total -= bytes;
  }
}

async function listArchives(store: Store): Promise<{ key: string; bytes: number; usedAt: number }[]> {
  const names = (await readdir(store.paths.archives)).filter((name) => /^[0-9a-f]{64}\.json$/.test(name));
  const found = await Promise.all(
    names.map(async (name) => {
      const key = name.slice(0, 64);
      const info = await stat(join(store.paths.archives, name)).catch(undefinedWhenGone);
      return info && { key, bytes: await bytesOf(join(store.paths.archives, key)), usedAt: info.mtimeMs };
    }),
  );
  return found.filter((archive) => archive !== undefined);
}

async function bytesOf(directory: string): Promise<number> {
  const names = (await readdir(directory).catch(undefinedWhenGone)) ?? [];
  const sizes = await Promise.all(names.map((name) => stat(join(directory, name)).catch(undefinedWhenGone)));
  return sizes.reduce((sum, info) => sum + (info?.size ?? 0), 0);
}

/** The list goes first: without it the rest is no archive, and removeUnfinishedArchives takes it away. */
async function removeArchive(store: Store, key: string): Promise<void> {
  const directory = join(store.paths.archives, key);
  await rm(`${directory}.json`, { force: true });
  const doomed = temporaryBeside(directory);
  await rename(directory, doomed).catch(undefinedWhenGone);
  await rm(doomed, { recursive: true, force: true });
}

/** Two archives that are finished at the same time make room for themselves at the same time. */
function undefinedWhenGone(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}

/** Removes what a killed process left: directories without their list, lists without their directory. */
export async function removeUnfinishedArchives(store: Store): Promise<void> {
  const names = new Set(await readdir(store.paths.archives));
  for (const name of names) {
    const partner = name.endsWith('.json') ? name.slice(0, -5) : `${name}.json`;
    if (!names.has(partner)) await rm(join(store.paths.archives, name), { recursive: true, force: true });
  }
}

/** For callers that hold an archive by a key that came over the wire. Throws `bad_data`. */
export function parseArchiveKey(key: string): string {
  if (!/^[0-9a-f]{64}$/.test(key)) throw new AppError('bad_data', 'an archive key has 64 hex digits');
  return key;
}
