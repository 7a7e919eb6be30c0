import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { cacheDirectory } from '../server/engine/cache-directory.ts';
import { describePackages } from '../server/engine/debian/packages.ts';
import { withScratch } from '../server/engine/parts.ts';
import { DISK_BYTES, inDisk, makeDisk } from './sync-data/disk.ts';
import { editSettings, touchBlocks } from './sync-data/edits.ts';
import { fetchGenerations, type Generations } from './sync-data/packages.ts';
import { install, makeSystem, removeKernel } from './sync-data/tree.ts';

/**
 * The data of `make bench-sync`: a Debian disk and three successors, made of what Debian's mirror holds today.
 *
 *   base     about 1 GB: the release without its security updates
 *   inplace  base, mounted and changed where it lies: security updates, added packages, settings, 1 % of blocks touched
 *   rebuilt  the same tree in a fresh file system, as an image pipeline makes it
 *   kernel   inplace and another kernel, the old one removed
 *
 * Needs root (loop devices), mke2fs, e2fsck. A few minutes the first time; kept in the cache afterwards.
 */
export const CASES = ['inplace', 'rebuilt', 'kernel'] as const;
export type Case = (typeof CASES)[number];
export type SyncData = { readonly [Name in 'base' | Case]: string };

const USED_BLOCKS_TOUCHED = 0.01;
const BLOCK_BYTES = 4096;
const BASE_ID = '7a795754-0000-4000-8000-00000000b101';
const REBUILT_ID = '7a795754-0000-4000-8000-00000000b102';
const run = promisify(execFile);

/** The four disks, from the cache or made now. Errors: those of `fetchPackages`, and what the programs say. */
export async function makeSyncData(options: { cacheDir?: string; onStage?: (stage: string) => void } = {}): Promise<SyncData> {
  const { cacheDir = cacheDirectory(), onStage = () => undefined } = options;
  onStage('fetching packages');
  const generations = await fetchGenerations(cacheDir);
  const kept = join(cacheDir, 'bench-sync', await keyOf(generations));
  const data = pathsIn(kept);
  const isKept = await access(data.kernel).then(
    () => true,
    () => false,
  );
  if (isKept) return data;
  await mkdir(join(cacheDir, 'bench-sync'), { recursive: true });
  await withScratch(cacheDir, async (scratch) => {
    const out = join(scratch, 'disks');
    await mkdir(out);
    await makeAll(generations, { ...pathsIn(out), scratch, onStage });
    await rm(kept, { recursive: true, force: true });
    await rename(out, kept);
  });
  return data;
}

async function makeAll(
  { base, upgraded, added, kernel, oldKernel }: Generations,
  to: SyncData & { scratch: string; onStage: (stage: string) => void },
): Promise<void> {
  const tree = join(to.scratch, 'tree');
  const mountpoint = join(to.scratch, 'mounted');
  to.onStage(`base: ${base.length} packages`);
  await mkdir(tree);
  await makeSystem(tree, base);
  await makeDisk(to.base, tree, BASE_ID);
  to.onStage(`inplace: ${upgraded.length} packages upgraded, ${added.length} added`);
  await copySparse(to.base, to.inplace);
  await inDisk(to.inplace, mountpoint, async (mounted) => {
    await install(mounted, [...upgraded, ...added]);
    await editSettings(mounted);
    await touchBlocks(mounted, { blocks: await touchedBlocks(mounted), seed: 3 });
  });
  to.onStage('rebuilt: the same tree in a fresh file system');
  await inDisk(to.inplace, mountpoint, (mounted) => makeDisk(to.rebuilt, mounted, REBUILT_ID), 'ro');
  to.onStage(`kernel: ${kernel.map(({ name }) => name).join(', ')} for ${oldKernel}`);
  await copySparse(to.inplace, to.kernel);
  await inDisk(to.kernel, mountpoint, async (mounted) => {
    await install(mounted, kernel);
    await removeKernel(mounted, oldKernel);
  });
}

async function touchedBlocks(mounted: string): Promise<number> {
  const { stdout } = await run('du', ['-s', '-x', '-B', String(BLOCK_BYTES), mounted]);
  return Math.round(Number.parseInt(stdout, 10) * USED_BLOCKS_TOUCHED);
}

async function copySparse(from: string, to: string): Promise<void> {
  await run('cp', ['--sparse=always', '--reflink=auto', '--', from, to]);
}

function pathsIn(directory: string): SyncData {
  const at = (name: string) => join(directory, `${name}.raw`);
  return { base: at('base'), inplace: at('inplace'), rebuilt: at('rebuilt'), kernel: at('kernel') };
}

/** The recipe is part of the key: a changed recipe makes new disks. */
async function keyOf({ base, upgraded, added, kernel }: Generations): Promise<string> {
  const hash = createHash('sha256').update(describePackages([...base, ...upgraded, ...added, ...kernel]));
  const recipe = join(import.meta.dirname, 'sync-data');
  for (const name of (await readdir(recipe)).sort()) hash.update(await readFile(join(recipe, name)));
  return hash.update(String(DISK_BYTES)).digest('hex').slice(0, 24);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const data = await makeSyncData({ onStage: (stage) => console.error(stage) });
  console.log(JSON.stringify(data, null, 2));
}
