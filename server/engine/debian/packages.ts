import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { AppError } from '../../../core/errors.ts';
import type { Arch } from '../../../core/image.ts';
import { type Apt, openApt, runApt } from './apt.ts';

/** One package of a closure, as Debian's signed index names it, and where its verified bytes lie. */
export type DebianPackage = {
  readonly name: string;
  readonly version: string;
  readonly arch: string;
  /** 64 hex digits, from the signed index. */
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly path: string;
};

export type PackageRequest = {
  /** Packages and lists are kept here between calls, by hash. */
  readonly cacheDir: string;
  readonly arch: Arch;
  /** What to resolve, dependencies included, recommendations not. */
  readonly packages: readonly string[];
  /** The release to prefer (`bookworm`: without its security updates); the newest version of all without it. */
  readonly release?: string;
  /** Which packages of the closure are wanted; without it all. */
  readonly only?: (name: string) => boolean;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
  readonly signal?: AbortSignal;
};

/** Reads `apt-get --print-uris`: 'URI' FILE SIZE SHA256:HEX, FILE being name_version_arch.deb with %-escapes. */
export function parseUris(text: string, debDir: string): DebianPackage[] {
  return text.split('\n').flatMap((line) => {
    const found = line.match(/^'[^']*' ([^_\s]+)_([^_\s]+)_([^_\s]+)\.deb (\d+) SHA256:([0-9a-f]{64})$/);
    if (!found) return [];
    const [, name = '', version = '', arch = '', size, sha256 = ''] = found;
    const path = join(debDir, `${sha256}.deb`);
    return [{ name, version: decodeURIComponent(version), arch, sha256, sizeBytes: Number(size), path }];
  });
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

async function isCached(deb: DebianPackage): Promise<boolean> {
  // A file that cannot be looked at is no cached one: it is fetched again, and that says what is wrong.
  const found = await stat(deb.path).catch(() => undefined);
  return found?.size === deb.sizeBytes && (await sha256Of(deb.path)) === deb.sha256;
}

/** Takes downloaded files into the cache under their hash; what no wanted package names stays behind. */
async function adopt(directory: string, wanted: readonly DebianPackage[]): Promise<void> {
  const byHash = new Map(wanted.map((deb) => [deb.sha256, deb]));
  for (const name of await readdir(directory)) {
    const file = join(directory, name);
    const deb = byHash.get(await sha256Of(file));
    if (deb) await rename(file, deb.path);
  }
}

const BATCH = 16;

async function download(apt: Apt, missing: readonly DebianPackage[], request: PackageRequest): Promise<void> {
  const directory = await mkdtemp(join(request.cacheDir, 'debs/.new-'));
  const totalBytes = missing.reduce((sum, deb) => sum + deb.sizeBytes, 0);
  let doneBytes = 0;
  try {
    for (let at = 0; at < missing.length; at += BATCH) {
      const batch = missing.slice(at, at + BATCH);
      const names = batch.map((deb) => `${deb.name}=${deb.version}`);
      await runApt(apt, ['download', ...names], { cwd: directory, ...(request.signal ? { signal: request.signal } : {}) });
      await adopt(directory, batch);
      doneBytes += batch.reduce((sum, deb) => sum + deb.sizeBytes, 0);
      request.onProgress?.(doneBytes, totalBytes);
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function resolve(apt: Apt, request: PackageRequest): Promise<DebianPackage[]> {
  const preferred = request.release === undefined ? [] : ['--target-release', request.release];
  const text = await runApt(
    apt,
    ['install', '--print-uris', ...preferred, ...request.packages],
    request.signal ? { signal: request.signal } : {},
  );
  const all = parseUris(text, join(request.cacheDir, 'debs'));
  const wanted = request.only ? all.filter((deb) => request.only?.(deb.name)) : all;
  if (wanted.length === 0) throw new AppError('not_found', `apt knows no package for: ${request.packages.join(' ')}`);
  return wanted.sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function uncached(packages: readonly DebianPackage[]): Promise<DebianPackage[]> {
  const present = await Promise.all(packages.map(isCached));
  return packages.filter((_, index) => !present[index]);
}

async function fetchOnce(request: PackageRequest, mustRefresh: boolean): Promise<DebianPackage[]> {
  const apt = await openApt({ ...request, mustRefresh });
  const packages = await resolve(apt, request);
  const missing = await uncached(packages);
  if (missing.length > 0) await download(apt, missing, request);
  const lost = missing.length > 0 ? await uncached(missing) : [];
  if (lost[0]) throw new AppError('bad_data', `the package ${lost[0].name} ${lost[0].version} did not arrive with its hash`);
  return packages;
}

/**
 * Debian packages with their dependencies, downloaded as an ordinary user, sorted by name.
 *
 * apt checks the archive's signature over the index; the hash of every file is checked here again, also when
 * it comes from the cache. A download that fails is tried once more with fresh lists (old ones name removed
 * files). Errors: `config`, `missing_program`, `unreachable`, `bad_data`, `not_found`.
 */
export async function fetchPackages(request: PackageRequest): Promise<DebianPackage[]> {
  await mkdir(join(request.cacheDir, 'debs'), { recursive: true });
  try {
    return await fetchOnce(request, false);
  } catch (cause) {
    if (cause instanceof AppError && cause.code !== 'failed' && cause.code !== 'bad_data') throw cause;
    if (request.signal?.aborted) throw cause;
    return await fetchOnce(request, true);
  }
}

/** `name version arch sha256` lines: what is recorded of an image, and the key of what is cached. */
export function describePackages(packages: readonly DebianPackage[]): string {
  return packages.map((deb) => `${deb.name} ${deb.version} ${deb.arch} ${deb.sha256}\n`).join('');
}
