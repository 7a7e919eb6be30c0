import { createHash } from 'node:crypto';
import { access, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../../core/errors.ts';
import type { Arch } from '../../../core/image.ts';
import { runCommand } from './command-process.ts';
import { describePackages, fetchPackages } from './packages.ts';
import { makeTree, unpackPackages } from './unpack-process.ts';

/**
 * Programs out of unpacked Debian packages, run through their own dynamic loader. So a build needs only apt,
 * dpkg and tar of its host, and the same packages give the same bytes wherever it runs.
 */
export type Toolbox = { readonly tree: string; readonly packages: string };

const LOADERS: Readonly<Record<Arch, { loader: string; triplet: string }>> = {
  amd64: { loader: 'lib64/ld-linux-x86-64.so.2', triplet: 'x86_64-linux-gnu' },
  arm64: { loader: 'lib/ld-linux-aarch64.so.1', triplet: 'aarch64-linux-gnu' },
};

/** This machine's architecture in Debian's words. Errors: `config` on others than amd64 and arm64. */
function hostArch(): Arch {
  if (process.arch === 'x64') return 'amd64';
  if (process.arch === 'arm64') return 'arm64';
  throw new AppError('config', `engines cannot be built on ${process.arch}`, { hint: 'use an amd64 or arm64 machine' });
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/**
 * The programs of these packages, unpacked under `cacheDir` once per set of versions and kept.
 * Errors: those of `fetchPackages`.
 */
export async function openToolbox(options: { cacheDir: string; packages: readonly string[]; signal?: AbortSignal }): Promise<Toolbox> {
  const fetched = await fetchPackages({ ...options, arch: hostArch(), only: (name) => !UNUSED.has(name) });
  const packages = describePackages(fetched);
  const key = createHash('sha256').update(packages).digest('hex').slice(0, 16);
  const tree = join(options.cacheDir, `tools-${key}`);
  if (await exists(tree)) return { tree, packages };
  const fresh = await mkdtemp(join(options.cacheDir, '.tools-'));
  try {
    await makeTree(fresh);
    await unpackPackages(fetched, fresh);
    await rename(fresh, tree).catch((cause: NodeJS.ErrnoException) => {
      // Somebody else unpacked the same packages meanwhile; theirs is as good.
      if (cause.code !== 'ENOTEMPTY' && cause.code !== 'EEXIST') throw cause;
    });
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
  return { tree, packages };
}

/** Pulled in by dependencies that only maintainer scripts need. */
const UNUSED = new Set(['debconf', 'perl-base', 'dpkg', 'tar', 'ucf', 'sensible-utils', 'gettext-base']);

/** Runs `path` (inside the toolbox, `usr/sbin/mke2fs`) and gives its standard output. Errors: `failed` with its words. */
export function runTool(
  toolbox: Toolbox,
  path: string,
  args: readonly string[],
  options: { name?: string; mixed?: boolean; env?: Readonly<Record<string, string>>; cwd?: string; signal?: AbortSignal } = {},
): Promise<string> {
  const { tree } = toolbox;
  const { loader, triplet } = LOADERS[hostArch()];
  const libraries = [`${tree}/usr/lib/${triplet}`, `${tree}/lib/${triplet}`].join(':');
  const { name = path.slice(path.lastIndexOf('/') + 1), env, ...rest } = options;
  return runCommand({
    program: join(tree, loader),
    label: name,
    args: ['--library-path', libraries, '--argv0', name, join(tree, path), ...args],
    env: { MKE2FS_CONFIG: `${tree}/etc/mke2fs.conf`, GCONV_PATH: `${tree}/usr/lib/${triplet}/gconv`, ...env },
    ...rest,
  });
}
