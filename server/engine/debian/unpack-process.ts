import { spawn } from 'node:child_process';
import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../../core/errors.ts';
import type { DebianPackage } from './packages.ts';

const MERGED = ['bin', 'sbin', 'lib', 'lib64'];

/** A new, empty tree with the links of a merged /usr, so that every package finds the layout it expects. */
export async function makeTree(tree: string): Promise<void> {
  await mkdir(join(tree, 'usr'), { recursive: true });
  for (const name of MERGED) {
    await mkdir(join(tree, 'usr', name));
    await symlink(`usr/${name}`, join(tree, name));
  }
}

/** The paths in packages that no boot environment or server reads. */
const UNREAD = ['doc', 'man', 'info', 'lintian', 'locale', 'bug', 'doc-base', 'gtk-doc'].map((name) => `./usr/share/${name}/*`);

/**
 * Unpacks one package's files: no maintainer script runs, owners are ours, and links to directories
 * that stand in the tree are kept. Errors: `missing_program`, `bad_data` when the package is damaged.
 */
function unpackPackage(deb: DebianPackage, tree: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const reader = spawn('dpkg-deb', ['--fsys-tarfile', deb.path], { stdio: ['ignore', 'pipe', 'pipe'] });
    const excludes = UNREAD.map((pattern) => `--exclude=${pattern}`);
    const writer = spawn('tar', ['-x', '-p', '--no-same-owner', '--keep-directory-symlink', ...excludes, '-C', tree, '-f', '-'], {
      stdio: [reader.stdout, 'ignore', 'pipe'],
    });
    let open = 2;
    let words = '';
    const ended = (program: string) => (code: number | null) => {
      if (code !== 0) {
        reject(new AppError('bad_data', `${program} could not unpack ${deb.name} ${deb.version}: ${words.trim().slice(-400)}`));
      }
      open -= 1;
      if (open === 0) resolve();
    };
    for (const [program, child] of [
      ['dpkg-deb', reader],
      ['tar', writer],
    ] as const) {
      child.stderr?.on('data', (data: Buffer) => {
        words += data.toString('utf8');
      });
      child.on('error', (cause) => {
        reject(
          new AppError('missing_program', `the program ${program} is not installed`, { hint: `sudo apt-get install dpkg tar`, cause }),
        );
      });
      child.on('close', ended(program));
    }
    // The writer holds its own copy of the pipe; ours would keep the reader from seeing its end.
    reader.stdout.destroy();
  });
}

/** Unpacks packages in the given order (a later one wins where files meet) into a tree of `makeTree`. */
export async function unpackPackages(packages: readonly DebianPackage[], tree: string): Promise<void> {
  for (const deb of packages) await unpackPackage(deb, tree);
}
