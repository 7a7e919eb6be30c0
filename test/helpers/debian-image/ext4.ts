import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CpioEntry } from '../../../server/engine/cpio.ts';
import { runTool, type Toolbox } from '../../../server/engine/debian/toolbox.ts';

/**
 * An ext4 file system with a tree in it, inside a disk file, without root or mount. `mke2fs -d` would take
 * owners, change times and order from the folder it copies; debugfs with a script takes them from us.
 */
export type Ext4 = {
  readonly disk: string;
  readonly offsetBytes: number;
  readonly sizeBytes: number;
  readonly id: string;
  /** Seconds since 1970 for every time in the file system. */
  readonly time: number;
};

function quoted(path: string): string {
  if (/["\n]/.test(path)) throw new Error(`debugfs cannot take the path ${JSON.stringify(path)}`);
  return `"${path}"`;
}

function parentOf(path: string): string {
  const at = path.lastIndexOf('/');
  return at < 0 ? '/' : `/${path.slice(0, at)}`;
}

function baseOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/**
 * One entry as debugfs commands, in the folder it stands in: `write` and a top-level `mkdir` take no path but
 * the name, and put it into the current directory.
 */
function commandsFor(entry: CpioEntry, source: string, group: number | undefined): string[] {
  const base = quoted(baseOf(entry.path));
  const owner = group === undefined ? [] : [`sif ${base} gid ${group}`];
  if (entry.kind === 'directory') {
    const mode = entry.mode === 0o755 ? [] : [`sif ${base} mode 0${(0o040000 | entry.mode).toString(8)}`];
    return [`mkdir ${base}`, ...mode, ...owner];
  }
  if (entry.kind === 'link') return [`symlink ${base} ${quoted(entry.target)}`];
  if (entry.kind === 'device') return [];
  return [`write ${quoted(join(source, entry.path))} ${base}`, ...owner];
}

function scriptFor(tree: { entries: readonly CpioEntry[]; source: string; groups: ReadonlyMap<string, number> }): string {
  let folder = '';
  const lines = tree.entries.flatMap((entry) => {
    const parent = parentOf(entry.path);
    const change = parent === folder ? [] : [`cd ${quoted(parent)}`];
    folder = parent;
    return [...change, ...commandsFor(entry, tree.source, tree.groups.get(entry.path))];
  });
  return `${lines.join('\n')}\nquit\n`;
}

/** Makes the file system and fills it with `entries` of the folder `source`; `groups` gives gids by path. */
export async function writeExt4(
  toolbox: Toolbox,
  fs: Ext4,
  tree: { readonly entries: readonly CpioEntry[]; readonly source: string; readonly groups: ReadonlyMap<string, number> },
): Promise<void> {
  const env = { E2FSPROGS_FAKE_TIME: String(fs.time) };
  const features = '^metadata_csum_seed,^orphan_file';
  const extended = `offset=${fs.offsetBytes},hash_seed=${fs.id},lazy_itable_init=0,nodiscard,root_owner=0:0`;
  const make = ['-q', '-F', '-t', 'ext4', '-b', '4096', '-m', '1', '-L', 'root', '-U', fs.id, '-O', features, '-E', extended];
  await runTool(toolbox, 'sbin/mke2fs', [...make, fs.disk, `${fs.sizeBytes / 1024}k`], { env });
  const scriptFile = `${tree.source}.debugfs`;
  await writeFile(scriptFile, scriptFor(tree));
  const output = await runTool(toolbox, 'sbin/debugfs', ['-w', '-f', scriptFile, `${fs.disk}?offset=${fs.offsetBytes}`], {
    env,
    mixed: true,
  });
  const complaint = output.split('\n').find((line) => !line.startsWith('debugfs') && !line.startsWith('Allocated inode:') && line !== '');
  if (complaint) throw new Error(`debugfs: ${complaint}`);
}

/** Reads gids of names out of an /etc/group. */
export async function readGroups(path: string): Promise<Map<string, number>> {
  const lines = (await readFile(path, 'utf8')).split('\n').map((line) => line.split(':'));
  return new Map(lines.map(([name = '', , gid]) => [name, Number(gid)]));
}
