import { chmod, mkdir, readdir, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AppError } from '../../core/errors.ts';
import { runTool, type Toolbox } from './debian/toolbox.ts';
import { parseModulesDep, selectModules } from './kernel-modules.ts';

/** An unpacked kernel package: its version, its image, and where its modules are. */
export type UnpackedKernel = { readonly tree: string; readonly release: string; readonly vmlinuz: string };

/** The kernel in a tree. Errors: `bad_data` when there is not exactly one. */
export async function findKernel(tree: string): Promise<UnpackedKernel> {
  const names = (await readdir(join(tree, 'boot'))).filter((name) => name.startsWith('vmlinuz-'));
  const [name] = names;
  if (name === undefined || names.length !== 1) throw new AppError('bad_data', `expected one kernel in the package, found ${names.length}`);
  return { tree, release: name.slice('vmlinuz-'.length), vmlinuz: join(tree, 'boot', name) };
}

/**
 * Moves the chosen modules with what they need into the tree `root`, with fresh modules.dep and modules.alias
 * for just these. The kernel's own tree is used up.
 */
export async function moveModules(
  kernel: UnpackedKernel,
  choice: { readonly folders: readonly string[]; readonly names: readonly string[] },
  options: { readonly toolbox: Toolbox; readonly root: string },
): Promise<void> {
  const from = join(kernel.tree, 'usr/lib/modules', kernel.release);
  const to = join(options.root, 'usr/lib/modules', kernel.release);
  await depmod(options.toolbox, kernel.tree, kernel.release);
  const paths = selectModules(parseModulesDep(await readFile(join(from, 'modules.dep'), 'utf8')), choice.folders, choice.names);
  for (const path of [...paths, 'modules.builtin', 'modules.builtin.modinfo', 'modules.order']) {
    await mkdir(dirname(join(to, path)), { recursive: true });
    await rename(join(from, path), join(to, path));
  }
  await depmod(options.toolbox, options.root, kernel.release);
}

/** Debian's kernel packages leave modules.dep to a maintainer script; this is what that does, whatever our umask. */
export async function depmod(toolbox: Toolbox, tree: string, release: string): Promise<void> {
  await runTool(toolbox, 'bin/kmod', ['-b', tree, release], { name: 'depmod' });
  const folder = join(tree, 'usr/lib/modules', release);
  const tables = (await readdir(folder)).filter((name) => name.startsWith('modules.'));
  await Promise.all(tables.map((name) => chmod(join(folder, name), 0o644)));
}
