import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Arch } from '../../core/image.ts';
import { describePackages } from './debian/packages.ts';
import { openToolbox } from './debian/toolbox.ts';
import { makeTree, unpackPackages } from './debian/unpack-process.ts';
import { encodeInitramfs, FIRST_DEVICES } from './initramfs.ts';
import { findKernel, moveModules, type UnpackedKernel } from './kernel.ts';
import { ENGINE_FOLDERS, ENGINE_MODULES } from './kernel-modules.ts';
import { type EngineParts, fetchParts, withScratch, writeOwnPart } from './parts.ts';
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

async function makeInitramfs(request: EngineRequest, parts: EngineParts, kernel: UnpackedKernel, root: string): Promise<Buffer> {
  const { cacheDir, projectDir, arch, signal } = request;
  const toolbox = await openToolbox({ cacheDir, packages: BUILD_PACKAGES, ...(signal ? { signal } : {}) });
  await makeTree(root);
  await unpackPackages(parts.programs, root);
  await moveModules(kernel, { folders: ENGINE_FOLDERS, names: ENGINE_MODULES }, { toolbox, root });
  await writeOwnPart(root, projectDir, arch);
  request.onStage?.('packing the initramfs');
  const known = new Set(FIRST_DEVICES.map((entry) => entry.path));
  const entries = await readTree(root, (path) => isInEngine(path) && !known.has(path));
  return encodeInitramfs([...FIRST_DEVICES, ...entries]);
}

async function describeFile(outDir: string, path: string): Promise<BootFile> {
  const content = await readFile(join(outDir, path));
  return { path, sizeBytes: content.byteLength, sha256: createHash('sha256').update(content).digest('hex') };
}

async function writeBootFiles(request: EngineRequest, parts: EngineParts, scratch: string): Promise<string> {
  const { arch, outDir } = request;
  const boot = join(outDir, 'boot', arch);
  const kernelTree = join(scratch, 'kernel');
  await mkdir(boot, { recursive: true });
  request.onStage?.('unpacking the kernel');
  await makeTree(kernelTree);
  await unpackPackages([...parts.kernel, ...parts.loaders], kernelTree);
  const kernel = await findKernel(kernelTree);
  await copyFile(kernel.vmlinuz, join(boot, 'vmlinuz'));
  for (const loader of LOADERS) await copyFile(join(kernelTree, loader.path), join(boot, loader.name));
  request.onStage?.('unpacking programs and drivers');
  await writeFile(join(boot, 'initrd'), await makeInitramfs(request, parts, kernel, join(scratch, 'root')));
  return kernel.release;
}

/**
 * Builds the engine's boot files into `outDir`. Errors: `missing_program` (apt, dpkg, tar), `config` (not Debian),
 * `unreachable` (no packages), `not_found` (no agent, no Node).
 */
export async function buildEngine(request: EngineRequest): Promise<BuiltEngine> {
  const { arch, cacheDir, outDir, signal } = request;
  request.onStage?.('fetching packages');
  const parts = await fetchParts({ arch, cacheDir, ...(signal ? { signal } : {}) });
  const kernelRelease = await withScratch(cacheDir, (scratch) => writeBootFiles(request, parts, scratch));
  const names = ['vmlinuz', 'initrd', ...LOADERS.map((loader) => loader.name)].sort();
  const files = await Promise.all(names.map((name) => describeFile(outDir, join('boot', arch, name))));
  const packages = describePackages([...parts.kernel, ...parts.loaders, ...parts.programs]);
  return {
    arch,
    kernelRelease,
    sizeBytes: files.reduce((sum, file) => sum + file.sizeBytes, 0),
    files,
    meta: { arch, kernel: kernelRelease, node: process.versions.node, packages },
  };
}
