import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CpioEntry } from '../../../server/engine/cpio.ts';
import { encodeInitramfs, FIRST_DEVICES } from '../../../server/engine/initramfs.ts';
import { moduleName, parseModulesDep, selectModules } from '../../../server/engine/kernel-modules.ts';

const FOLDERS = ['drivers/ata'];
const MODULES = ['virtio_blk', 'virtio_scsi', 'virtio_pci', 'nvme', 'ahci', 'sd_mod', 'ext4', 'crc32c_generic', 'crc32c_intel'];

function folder(path: string): CpioEntry {
  return { kind: 'directory', path, mode: 0o755 };
}

async function file(path: string, from: string, mode = 0o644): Promise<CpioEntry> {
  return { kind: 'file', path, mode, content: await readFile(from) };
}

/** Busybox's modprobe reads this text; aliases are cut down to the modules that are there. */
async function moduleTables(tree: string, base: string, chosen: readonly string[]): Promise<CpioEntry[]> {
  const dep = (await readFile(join(tree, base, 'modules.dep'), 'utf8')).split('\n');
  const alias = (await readFile(join(tree, base, 'modules.alias'), 'utf8')).split('\n');
  const paths = new Set(chosen);
  const names = new Set(chosen.map(moduleName));
  const keptDep = dep.filter((line) => paths.has(line.slice(0, line.indexOf(':'))));
  const keptAlias = alias.filter((line) => names.has(line.slice(line.lastIndexOf(' ') + 1)));
  return [
    { kind: 'file', path: `${base}/modules.dep`, mode: 0o644, content: Buffer.from(`${keptDep.join('\n')}\n`) },
    { kind: 'file', path: `${base}/modules.alias`, mode: 0o644, content: Buffer.from(`${keptAlias.join('\n')}\n`) },
  ];
}

/** A small initramfs: busybox, disk drivers, ext4, and `more` modules by name. About 2 MB. */
export async function makeRootInitrd(tree: string, release: string, init: string, more: readonly string[] = []): Promise<Buffer> {
  const base = `usr/lib/modules/${release}`;
  const dep = parseModulesDep(await readFile(join(tree, base, 'modules.dep'), 'utf8'));
  const chosen = selectModules(dep, FOLDERS, [...MODULES, ...more]);
  const folders = ['usr', 'usr/bin', 'usr/lib', 'usr/lib/modules', base, ...foldersOf(chosen).map((path) => `${base}/${path}`)];
  const files = await Promise.all(chosen.map((path) => file(`${base}/${path}`, join(tree, base, path))));
  return encodeInitramfs([
    ...FIRST_DEVICES,
    ...folders.map(folder),
    { kind: 'link', path: 'lib', target: 'usr/lib' },
    { kind: 'link', path: 'bin', target: 'usr/bin' },
    await file('init', init, 0o755),
    await file('usr/bin/busybox', join(tree, 'usr/bin/busybox'), 0o755),
    ...files,
    ...(await moduleTables(tree, base, chosen)),
  ]);
}

function foldersOf(paths: readonly string[]): string[] {
  const all = paths.flatMap((path) => {
    const parts = path.split('/').slice(0, -1);
    return parts.map((_, index) => parts.slice(0, index + 1).join('/'));
  });
  return [...new Set(all)].sort();
}
