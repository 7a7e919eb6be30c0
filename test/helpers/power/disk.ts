import { execFile } from 'node:child_process';
import { open, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { openToolbox, runTool, type Toolbox } from '../../../server/engine/debian/toolbox.ts';

const MIB = 1_048_576;
const run = promisify(execFile);

/** mke2fs, debugfs and depmod from Debian's packages, whatever this host has. */
export function openDiskTools(cacheDir: string): Promise<Toolbox> {
  return openToolbox({ cacheDir, packages: ['e2fsprogs', 'kmod'] });
}

export type DiskContent = {
  /** The folder whose content becomes the root of the file system; owners, modes and times are those of the folder. */
  readonly from: string;
  readonly out: string;
  readonly sizeMib: number;
  /** A disk that is only read needs no journal. */
  readonly readOnly?: boolean;
};

/** A raw disk (sparse) that is one ext4 file system with a folder's content. */
export async function makeDiskFrom(toolbox: Toolbox, { from, out, sizeMib, readOnly = false }: DiskContent): Promise<void> {
  await writeFile(out, '');
  const file = await open(out, 'r+');
  await file.truncate(sizeMib * MIB);
  await file.close();
  const features = readOnly ? '^has_journal' : '^orphan_file';
  const options = ['-q', '-F', '-t', 'ext4', '-b', '4096', '-m', '0', '-O', features, '-E', 'lazy_itable_init=0,lazy_journal_init=0'];
  await runTool(toolbox, 'sbin/mke2fs', [...options, '-d', from, out]);
}

/**
 * What the next start would find on a disk: a copy at `to` with its journal replayed. Throws with the words of e2fsck when
 * the file system is then not clean.
 */
export async function recoverDisk(toolbox: Toolbox, disk: string, to: string): Promise<void> {
  await run('cp', ['--sparse=always', '--reflink=auto', '--', disk, to]);
  await runTool(toolbox, 'sbin/e2fsck', ['-E', 'journal_only', '-y', to]);
  await runTool(toolbox, 'sbin/e2fsck', ['-f', '-n', to]);
}

/** Copies a folder of a disk that no machine holds, and whose journal was replayed, into the folder `to`, which is there. */
export async function readDiskFolder(toolbox: Toolbox, disk: string, folder: string, to: string): Promise<void> {
  await runTool(toolbox, 'sbin/debugfs', ['-R', `rdump ${folder} ${to}`, disk]);
}
