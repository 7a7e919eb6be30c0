import { createHash } from 'node:crypto';
import { chmod, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describePackages, fetchPackages } from '../../../server/engine/debian/packages.ts';
import { makeTree, unpackPackages } from '../../../server/engine/debian/unpack-process.ts';
import { withScratch } from '../../../server/engine/parts.ts';
import { makeDiskFrom, openDiskTools } from './disk.ts';
import { keepOnShelf } from './shelf.ts';

/** What a guest runs: a root file system of Debian packages and files of the caller's. */
export type Program = {
  /** Their libraries come with them; `isWanted` chooses among all dependencies. busybox is always there. */
  readonly packages: readonly string[];
  readonly isWanted: (name: string) => boolean;
  /** The shell script that is PID 1 once the disks are mounted; when it ends, the machine ends. */
  readonly start: string;
  /** Folders that must be there to mount on. */
  readonly places: readonly string[];
  /** Adds the caller's own files to the tree; `key` stands for what they are. */
  readonly key: string;
  readonly fill: (tree: string) => Promise<void>;
};

const ROOM_MIB = 768;
const ALWAYS = ['/proc', '/sys', '/dev', '/run', '/tmp', '/root'];
const SETTINGS: Readonly<Record<string, string>> = {
  'etc/passwd': 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n',
  'etc/group': 'root:x:0:\nnogroup:x:65534:\n',
  'etc/hosts': '127.0.0.1 localhost\n',
  'etc/nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files\n',
};

/** The program as a disk to be mounted read-only as the root; kept in the cache. Gives its path. */
export async function buildProgramDisk(cacheDir: string, program: Program): Promise<string> {
  const wanted = [...program.packages, 'busybox-static'];
  const isWanted = (name: string) => name === 'busybox-static' || program.isWanted(name);
  const packages = await fetchPackages({ cacheDir, arch: 'amd64', packages: wanted, only: isWanted });
  const toolbox = await openDiskTools(cacheDir);
  const key = createHash('sha256').update(describePackages(packages)).update(toolbox.packages);
  key.update(JSON.stringify([program.start, program.places, program.key])).update(await readFile(import.meta.filename));
  const kept = await keepOnShelf(cacheDir, 'guest-programs', key.digest('hex').slice(0, 24), (out) =>
    withScratch(cacheDir, async (tree) => {
      await makeTree(tree);
      await unpackPackages(packages, tree);
      for (const place of [...ALWAYS, ...program.places]) await mkdir(join(tree, place), { recursive: true });
      for (const [path, text] of Object.entries(SETTINGS)) await write(tree, path, text, 0o644);
      await symlink('busybox', join(tree, 'usr/bin/sh'));
      await write(tree, 'start', `#!/usr/bin/busybox sh\n${program.start}`, 0o755);
      await program.fill(tree);
      await makeDiskFrom(toolbox, { from: tree, out: join(out, 'program.raw'), sizeMib: ROOM_MIB, readOnly: true });
    }),
  );
  return join(kept, 'program.raw');
}

async function write(tree: string, path: string, text: string, mode: number): Promise<void> {
  await mkdir(dirname(join(tree, path)), { recursive: true });
  await writeFile(join(tree, path), text);
  await chmod(join(tree, path), mode);
}
