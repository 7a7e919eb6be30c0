import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, chmod, mkdir, open, readdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type DebianPackage, describePackages, fetchPackages } from '../../server/engine/debian/packages.ts';
import { openToolbox, runTool, type Toolbox } from '../../server/engine/debian/toolbox.ts';
import { pruneKept } from '../../server/engine/kept.ts';
import { withScratch } from '../../server/engine/parts.ts';
import { readTree } from '../../server/engine/tree-entries.ts';
import { readGroups, writeExt4 } from './debian-image/ext4.ts';
import { encodeGpt, SECTOR, TYPE_BIOS_BOOT, TYPE_ESP, TYPE_ROOT_AMD64 } from './debian-image/gpt.ts';
import { makeBiosGrub, makeUefiGrub } from './debian-image/grub.ts';
import { IMAGE_PACKAGES, IMAGE_TIME, isImagePackage, makeRootTree, SPECIAL_GROUPS } from './debian-image/root-tree.ts';

/**
 * A real, bootable Debian disk (GPT; BIOS boot partition, ESP, ext4 root; systemd; DHCP; a first-boot service that
 * calls home) made from Debian packages without root, mount or loop device. The same packages give the same bytes.
 */
export type DebianImageRequest = {
  /** Where the raw disk goes. */
  readonly out: string;
  /** Packages and finished disks are kept here between runs. */
  readonly cacheDir: string;
  /** A multiple of 1 MiB, at least 700 MiB; 1.5 GiB without it. */
  readonly sizeBytes?: number;
  /** A disk whose kernel was removed: its boot loader finds nothing to start. */
  readonly withoutKernel?: boolean;
  /** Bytes of noise (repeatable) in a file of the root, to make a larger image. */
  readonly fillBytes?: number;
  readonly onStage?: (stage: string) => void;
};

export type DebianImage = { readonly path: string; readonly sizeBytes: number; readonly packages: string; readonly fromCache: boolean };

const MIB = 1_048_576;
const DISK_ID = '7a795754-0000-4000-8000-000000000000';
const BIOS_ID = '7a795754-0000-4000-8000-000000000001';
const ESP_ID = '7a795754-0000-4000-8000-000000000002';
const ROOT_PARTITION_ID = '7a795754-0000-4000-8000-000000000003';
const ROOT_ID = '7a795754-0000-4000-8000-00000000ff03';
const ESP_SERIAL = '57415953';
const ESP_MIB = 32;
const TOOLS = ['kmod', 'e2fsprogs', 'mtools', 'grub-common', 'grub-pc-bin', 'grub-efi-amd64-bin'];
const run = promisify(execFile);

type Layout = {
  readonly sectors: number;
  readonly bios: number;
  readonly esp: number;
  readonly root: number;
  readonly rootSectors: number;
};

function layoutOf(sizeBytes: number): Layout {
  const perMib = MIB / SECTOR;
  const root = (2 + ESP_MIB) * perMib;
  const sectors = sizeBytes / SECTOR;
  return { sectors, bios: perMib, esp: 2 * perMib, root, rootSectors: sectors - root - perMib };
}

function encodeTable(layout: Layout): { start: Buffer; end: Buffer } {
  const perMib = MIB / SECTOR;
  return encodeGpt(DISK_ID, layout.sectors, [
    { type: TYPE_BIOS_BOOT, id: BIOS_ID, name: 'bios', firstSector: layout.bios, sectors: perMib },
    { type: TYPE_ESP, id: ESP_ID, name: 'esp', firstSector: layout.esp, sectors: ESP_MIB * perMib },
    { type: TYPE_ROOT_AMD64, id: ROOT_PARTITION_ID, name: 'root', firstSector: layout.root, sectors: layout.rootSectors },
  ]);
}

async function writeEsp(toolbox: Toolbox, disk: string, layout: Layout, scratch: string): Promise<void> {
  const loader = join(scratch, 'BOOTX64.EFI');
  await writeFile(loader, await makeUefiGrub(toolbox, scratch, ROOT_ID));
  await utimes(loader, IMAGE_TIME, IMAGE_TIME);
  const env = { SOURCE_DATE_EPOCH: String(IMAGE_TIME), MTOOLS_SKIP_CHECK: '1', MTOOLSRC: '/dev/null' };
  const image = `${disk}@@${layout.esp * SECTOR}`;
  const sectors = String((ESP_MIB * MIB) / SECTOR);
  const mtools = (name: string, args: string[]) => runTool(toolbox, 'usr/bin/mtools', args, { name, env });
  await mtools('mformat', [
    '-i',
    image,
    '-T',
    sectors,
    '-h',
    '64',
    '-s',
    '32',
    '-H',
    String(layout.esp),
    '-N',
    ESP_SERIAL,
    '-v',
    'ESP',
    '::',
  ]);
  await mtools('mmd', ['-i', image, '::/EFI', '::/EFI/BOOT']);
  await mtools('mcopy', ['-m', '-i', image, loader, '::/EFI/BOOT/BOOTX64.EFI']);
}

async function writeBootSectors(toolbox: Toolbox, disk: string, layout: Layout, scratch: string): Promise<void> {
  const grub = await makeBiosGrub(toolbox, scratch, { rootId: ROOT_ID, coreSector: layout.bios });
  const table = encodeTable(layout);
  grub.boot.copy(table.start, 0);
  const file = await open(disk, 'r+');
  try {
    await file.write(table.start, 0, table.start.length, 0);
    await file.write(grub.core, 0, grub.core.length, layout.bios * SECTOR);
    await file.write(table.end, 0, table.end.length, layout.sectors * SECTOR - table.end.length);
  } finally {
    await file.close();
  }
}

/** Noise that does not compress and is the same every time: SHA-256 of a counter, strung together. */
async function writeFill(path: string, bytes: number): Promise<void> {
  const file = await open(path, 'w', 0o644);
  try {
    for (let at = 0; at < bytes; at += MIB) {
      const blocks = Array.from({ length: MIB / 32 }, (_, index) =>
        createHash('sha256')
          .update(`${at + index}`)
          .digest(),
      );
      await file.write(Buffer.concat(blocks), 0, Math.min(MIB, bytes - at));
    }
  } finally {
    await file.close();
  }
  await chmod(path, 0o644);
}

async function makeDisk(request: DebianImageRequest, packages: readonly DebianPackage[], toolbox: Toolbox, disk: string): Promise<void> {
  const layout = layoutOf(request.sizeBytes ?? 1536 * MIB);
  await withScratch(request.cacheDir, async (scratch) => {
    const source = join(scratch, 'root');
    request.onStage?.('unpacking packages');
    await makeRootTree(source, packages, { toolbox, rootId: ROOT_ID, espId: '5741-5953', withoutKernel: request.withoutKernel ?? false });
    if (request.fillBytes) await writeFill(join(source, 'var/fill'), request.fillBytes);
    request.onStage?.('writing the file systems');
    await writeFile(disk, '');
    const file = await open(disk, 'r+');
    await file.truncate(layout.sectors * SECTOR);
    await file.close();
    await writeEsp(toolbox, disk, layout, scratch);
    await writeRoot(toolbox, disk, layout, source);
    await writeBootSectors(toolbox, disk, layout, scratch);
  });
}

const MODES: Readonly<Record<string, number>> = { tmp: 0o1777, 'var/tmp': 0o1777, root: 0o700 };

async function writeRoot(toolbox: Toolbox, disk: string, layout: Layout, source: string): Promise<void> {
  const found = await readTree(source);
  const entries = found.map((entry) => (entry.kind === 'directory' ? { ...entry, mode: MODES[entry.path] ?? 0o755 } : entry));
  const gids = await readGroups(join(source, 'etc/group'));
  const groups = new Map(Object.entries(SPECIAL_GROUPS).map(([path, name]) => [path, gids.get(name) ?? 0]));
  const place = { disk, offsetBytes: layout.root * SECTOR, sizeBytes: layout.rootSectors * SECTOR, id: ROOT_ID, time: IMAGE_TIME };
  await writeExt4(toolbox, place, { entries, source, groups });
}

/** The recipe's own files are part of the key: a changed recipe makes a new disk. */
async function recipeDigest(): Promise<string> {
  const here = join(import.meta.dirname, 'debian-image');
  const names = [...(await readdir(here)), ...(await readdir(join(here, 'files'))).map((name) => `files/${name}`)].filter(
    (name) => name !== 'files',
  );
  const hash = createHash('sha256').update(await readFile(import.meta.filename));
  for (const name of names.sort()) hash.update(name).update(await readFile(join(here, name)));
  return hash.digest('hex');
}

/**
 * Builds the disk, or copies it (sparse) from the cache. Errors: those of `fetchPackages`.
 * About 25 s when the packages are there, a second from the cache.
 */
export async function buildDebianImage(request: DebianImageRequest): Promise<DebianImage> {
  const { cacheDir, sizeBytes = 1536 * MIB } = request;
  request.onStage?.('fetching packages');
  const packages = await fetchPackages({ cacheDir, arch: 'amd64', packages: IMAGE_PACKAGES, only: isImagePackage });
  const toolbox = await openToolbox({ cacheDir, packages: TOOLS });
  const variant = JSON.stringify([sizeBytes, request.withoutKernel ?? false, request.fillBytes ?? 0]);
  const description = describePackages(packages);
  const key = createHash('sha256')
    .update(description)
    .update(toolbox.packages)
    .update(variant)
    .update(await recipeDigest());
  const kept = join(cacheDir, 'disks', `${key.digest('hex').slice(0, 24)}.img`);
  const fromCache = await access(kept).then(
    () => true,
    () => false,
  );
  if (!fromCache) await makeKept(request, packages, toolbox, kept);
  await run('cp', ['--sparse=always', '--reflink=auto', '--', kept, request.out]);
  await pruneKept(join(cacheDir, 'disks'), Date.now());
  return { path: request.out, sizeBytes, packages: description, fromCache };
}

async function makeKept(request: DebianImageRequest, packages: readonly DebianPackage[], toolbox: Toolbox, kept: string): Promise<void> {
  await mkdir(join(request.cacheDir, 'disks'), { recursive: true });
  const fresh = `${kept}.${process.pid}.new`;
  try {
    await makeDisk(request, packages, toolbox, fresh);
    await rename(fresh, kept);
  } finally {
    await rm(fresh, { force: true });
  }
}
