import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { DebianPackage } from '../../server/engine/debian/packages.ts';
import { makeTree } from '../../server/engine/debian/unpack-process.ts';

const run = promisify(execFile);

/** A tree like a Debian system's: files of the packages with their owners, dpkg's records beside. No maintainer script runs. */
export async function makeSystem(tree: string, packages: readonly DebianPackage[]): Promise<void> {
  await makeTree(tree);
  for (const name of ['proc', 'sys', 'dev', 'run', 'tmp', 'root', 'home', 'srv']) await mkdir(join(tree, name), { recursive: true });
  await install(tree, packages);
}

/**
 * Installs packages the way dpkg does it: every file is written beside the old one and renamed over it, so that new
 * blocks are taken while the old ones are still in use.
 */
export async function install(tree: string, packages: readonly DebianPackage[]): Promise<void> {
  for (const deb of packages) {
    const staged = join(tree, '.staged');
    await makeTree(staged);
    await unpack(deb.path, staged);
    await run('cp', ['-a', '--link', '--remove-destination', `${staged}/.`, tree]);
    await rm(staged, { recursive: true });
    await recordPackage(tree, deb);
  }
}

/** Removes a kernel's files. */
export async function removeKernel(tree: string, release: string): Promise<void> {
  await rm(join(tree, 'usr/lib/modules', release), { recursive: true });
  for (const name of await readdir(join(tree, 'boot'))) if (name.endsWith(`-${release}`)) await rm(join(tree, 'boot', name));
  const info = join(tree, 'var/lib/dpkg/info');
  for (const name of await readdir(info)) if (name.startsWith(`linux-image-${release}.`)) await rm(join(info, name));
}

async function unpack(deb: string, tree: string): Promise<void> {
  const reader = spawn('dpkg-deb', ['--fsys-tarfile', deb], { stdio: ['ignore', 'pipe', 'inherit'] });
  const words = ['-x', '-p', '--same-owner', '--numeric-owner', '--keep-directory-symlink', '-C', tree, '-f', '-'];
  const writer = spawn('tar', words, { stdio: [reader.stdout, 'ignore', 'inherit'] });
  reader.stdout.destroy();
  const [[read], [written]] = (await Promise.all([once(reader, 'close'), once(writer, 'close')])) as [[number], [number]];
  if (read !== 0 || written !== 0) throw new Error(`cannot unpack ${deb}`);
}

/** var/lib/dpkg as dpkg keeps it: control files, list of files, the package's paragraph in `status` (the last one counts). */
async function recordPackage(tree: string, deb: DebianPackage): Promise<void> {
  const dpkg = join(tree, 'var/lib/dpkg');
  const info = join(dpkg, 'info');
  const control = join(dpkg, '.control');
  await mkdir(info, { recursive: true });
  await run('dpkg-deb', ['--control', deb.path, control]);
  for (const name of await readdir(control)) {
    if (name === 'control') continue;
    await rename(join(control, name), join(info, `${deb.name}.${name}`));
  }
  await rm(control, { recursive: true });
  const { stdout: paragraph } = await run('dpkg-deb', ['--field', deb.path]);
  const { stdout: contents } = await run('sh', ['-c', 'dpkg-deb --fsys-tarfile "$0" | tar -t', deb.path], { maxBuffer: 1e9 });
  await writeFile(join(info, `${deb.name}.list`), contents.replaceAll(/^\.\/?/gm, '/'));
  await appendFile(join(dpkg, 'status'), `${paragraph.replace('\n', '\nStatus: install ok installed\n')}\n`);
}
