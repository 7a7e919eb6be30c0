import { createHash, randomBytes } from 'node:crypto';
import { access, cp, mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { OwnFile } from './parts.ts';

/**
 * Built engines in the cache, by what they are made of. Packing takes most of a build's time, and tests and
 * repeated runs ask for the same engine again and again.
 */

/** A name for everything that goes into an engine: packages, our own files, and the recipe's sources. */
export async function engineKey(packages: string, own: readonly OwnFile[]): Promise<string> {
  const hash = createHash('sha256').update(packages);
  for (const { path, mode, content } of own) hash.update(`${path} ${mode} ${content.byteLength}\n`).update(content);
  for (const name of (await readdir(import.meta.dirname)).filter((one) => one.endsWith('.ts')).sort()) {
    hash.update(name).update(await readFile(join(import.meta.dirname, name)));
  }
  return hash.digest('hex').slice(0, 24);
}

/** Gives what was kept under `key`, or makes it in a new folder with `build` and keeps that. */
export async function keptOrBuilt(cacheDir: string, key: string, build: (folder: string) => Promise<void>): Promise<string> {
  const kept = join(cacheDir, 'engines', key);
  if (await isThere(kept)) return kept;
  const fresh = join(cacheDir, 'engines', `.new-${randomBytes(6).toString('hex')}`);
  await mkdir(fresh, { recursive: true });
  try {
    await build(fresh);
    await rename(fresh, kept).catch((cause: NodeJS.ErrnoException) => {
      // Somebody else built the same engine meanwhile.
      if (cause.code !== 'ENOTEMPTY' && cause.code !== 'EEXIST') throw cause;
    });
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
  return kept;
}

const KEEP = 4;
const KEEP_AT_LEAST_MS = 3_600_000;

/**
 * Removes all but the newest entries of a cache folder. What is younger than an hour stays, whatever its number:
 * another process may be reading it, or may be at work in it.
 */
export async function pruneKept(folder: string, now: number): Promise<void> {
  const names = await readdir(folder);
  const ages = await Promise.all(names.map(async (name) => ({ path: join(folder, name), atMs: (await stat(join(folder, name))).mtimeMs })));
  const old = ages
    .sort((a, b) => b.atMs - a.atMs)
    .slice(KEEP)
    .filter(({ atMs }) => now - atMs > KEEP_AT_LEAST_MS);
  for (const { path } of old) await rm(path, { recursive: true, force: true });
}

/** Copies a kept engine's files to where they were asked for. */
export async function copyKept(kept: string, outDir: string): Promise<void> {
  await mkdir(outDir, { recursive: true });
  await cp(kept, outDir, { recursive: true });
}

function isThere(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
