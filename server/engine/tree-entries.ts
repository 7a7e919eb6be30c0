import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { CpioEntry } from './cpio.ts';

async function entryOf(root: string, path: string): Promise<CpioEntry | undefined> {
  const full = join(root, path);
  const info = await lstat(full);
  const mode = info.mode & 0o7777;
  if (info.isDirectory()) return { kind: 'directory', path, mode: 0o755 };
  if (info.isSymbolicLink()) return { kind: 'link', path, target: await readlink(full) };
  return info.isFile() ? { kind: 'file', path, mode, content: await readFile(full) } : undefined;
}

/**
 * Everything below `root` as archive entries, sorted by path so that parents come first and the order does
 * not depend on the file system. `keep` decides by path; a folder that is left out takes its content along.
 */
export async function readTree(root: string, keep: (path: string) => boolean = () => true): Promise<CpioEntry[]> {
  const entries: CpioEntry[] = [];
  const walk = async (folder: string): Promise<void> => {
    for (const name of (await readdir(join(root, folder))).sort()) {
      const path = folder === '' ? name : `${folder}/${name}`;
      if (!keep(path)) continue;
      const entry = await entryOf(root, path);
      if (entry) entries.push(entry);
      if (entry?.kind === 'directory') await walk(path);
    }
  };
  await walk('');
  return entries;
}
