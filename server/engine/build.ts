import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Arch } from '../../core/image.ts';
import { describePackages } from './debian/packages.ts';
import { openToolbox, type Toolbox } from './debian/toolbox.ts';
import { makeTree, unpackPackages } from './debian/unpack-process.ts';
import { encodeInitramfs, FIRST_DEVICES } from './initramfs.ts';
import { copyKept, engineKey, keptOrBuilt, pruneKept } from './kept.ts';
import { findKernel, moveModules, type UnpackedKernel } from './kernel.ts';
import { ENGINE_FOLDERS, ENGINE_MODULES } from './kernel-modules.ts';
import { type EngineParts, fetchParts, type OwnFile, readOwnPart, withScratch, writeOwnPart } from './parts.ts';
import { BUILD_PACKAGES, isInEngine, LOADERS } from './recipe.ts';
import { readTree } from './tree-entries.ts';

/**
 * The engine: a Debian kernel and an initramfs with drivers, busybox, Node and the agent, made from Debian
 * packages by unpacking. No maintainer script runs, nothing is mounted, no root is needed, and the same packages
 * and sources give the same bytes: times are 0, owners are root, order is by name.
 */
export type EngineRequest = {
  readonly arch: Arch;
  /** Packages are kept here between builds. */
  readonly cacheDir: string;
  /** Where the boot files go: `boot/<arch>/{vmlinuz,initrd,undionly.kpxe,snponly.efi}`. */
  readonly outDir: string;
  /** Folder of package.json: the agent's sources and the pinned Node. */
  readonly projectDir: string;
  readonly onStage?: (stage: string) => void;
  readonly signal?: AbortSignal;
};

export type BootFile = { readonly path: string; readonly sizeBytes: number; readonly sha256: string };

export type BuiltEngine = {
  readonly arch: Arch;
  readonly kernelRelease: string;
  readonly sizeBytes: number;
  readonly files: readonly BootFile[];
  /** Kept in the root of the image's manifest: what the engine is made of. */
  readonly meta: Readonly<Record<string, string>>;
};

/** All that goes into an engine, fetched and read, before anything is unpacked. */
type Ingredients = { readonly parts: EngineParts; readonly own: readonly OwnFile[]; readonly toolbox: Toolbox };

async function gather({ arch, cacheDir, projectDir, signal }: EngineRequest): Promise<Ingredients> {
  const common = { cacheDir, ...(signal ? { signal } : {}) };
  const toolbox = await openToolbox({ ...common, packages: BUILD_PACKAGES });
  const parts = await fetchParts({ ...common, arch });
  return { parts, toolbox, own: await readOwnPart(projectDir, arch) };
}

async function makeInitramfs(ingredients: Ingredients, kernel: UnpackedKernel, root: string): Promise<Buffer> {
  const { parts, toolbox, own } = ingredients;
  await makeTree(root);
  await unpackPackages(parts.programs, root);
  await moveModules(kernel, { folders: ENGINE_FOLDERS, names: ENGINE_MODULES }, { toolbox, root });
  await writeOwnPart(root, own);
  const known = new Set(FIRST_DEVICES.map((entry) => entry.path));
  const entries = await readTree(root, (path) => isInEngine(path) && !known.has(path));
  return encodeInitramfs([...FIRST_DEVICES, ...entries]);
}

async function writeBootFiles(request: EngineRequest, ingredients: Ingredients, places: { out: string; scratch: string }): Promise<void> {
  const { parts } = ingredients;
  const boot = join(places.out, 'boot', request.arch);
  const kernelTree = join(places.scratch, 'kernel');
  await mkdir(boot, { recursive: true });
  request.onStage?.('unpacking the kernel');
  await makeTree(kernelTree);
  await unpackPackages([...parts.kernel, ...parts.loaders], kernelTree);
  const kernel = await findKernel(kernelTree);
  await copyFile(kernel.vmlinuz, join(boot, 'vmlinuz'));
  for (const loader of LOADERS) await copyFile(join(kernelTree, loader.path), join(boot, loader.name));
  request.onStage?.('packing drivers, programs and the agent');
  await writeFile(join(boot, 'initrd'), await makeInitramfs(ingredients, kernel, join(places.scratch, 'root')));
}

async function describeFile(outDir: string, path: string): Promise<BootFile> {
  const content = await readFile(join(outDir, path));
  return { path, sizeBytes: content.byteLength, sha256: createHash('sha256').update(content).digest('hex') };
}

/**
 * Builds the engine's boot files into `outDir`, or copies them when the same engine was built before. Errors:
 * `missing_program` (apt, dpkg, tar), `config` (not Debian), `unreachable` (no packages), `not_found` (no agent, no Node).
 */
export async function buildEngine(request: EngineRequest): Promise<BuiltEngine> {
  const { arch, cacheDir, outDir } = request;
  request.onStage?.('fetching packages');
  const ingredients = await gather(request);
  const { parts, own, toolbox } = ingredients;
  const packages = describePackages([...parts.kernel, ...parts.loaders, ...parts.programs]);
  const key = await engineKey(`${arch}\n${packages}\n${toolbox.packages}`, own);
  const kept = await keptOrBuilt(cacheDir, key, (out) =>
    withScratch(cacheDir, (scratch) => writeBootFiles(request, ingredients, { out, scratch })),
  );
  await copyKept(kept, outDir);
  await pruneKept(join(cacheDir, 'engines'), Date.now());
  const names = ['vmlinuz', 'initrd', ...LOADERS.map((loader) => loader.name)].sort();
  const files = await Promise.all(names.map((name) => describeFile(outDir, join('boot', arch, name))));
  const kernelRelease = parts.kernel[0]?.name.replace('linux-image-', '') ?? '';
  const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  return { arch, kernelRelease, sizeBytes, files, meta: { arch, kernel: kernelRelease, node: process.versions.node, packages } };
}
