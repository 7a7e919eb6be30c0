import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runTool, type Toolbox } from '../../../server/engine/debian/toolbox.ts';
import { SECTOR } from './gpt.ts';

const COMMON = ['part_gpt', 'ext2', 'search_fs_uuid', 'normal', 'configfile', 'linux', 'echo', 'test', 'serial', 'terminal', 'all_video'];

async function makeCore(
  toolbox: Toolbox,
  scratch: string,
  core: { platform: 'i386-pc' | 'x86_64-efi'; rootId: string; modules: readonly string[] },
): Promise<Buffer> {
  const config = join(scratch, `${core.platform}.cfg`);
  const out = join(scratch, `${core.platform}.img`);
  await writeFile(config, `search.fs_uuid ${core.rootId} root\nset prefix=($root)/boot/grub\nconfigfile ($root)/boot/grub/grub.cfg\n`);
  const folder = join(toolbox.tree, 'usr/lib/grub', core.platform);
  const args = ['-O', core.platform, '-d', folder, '-o', out, '-p', '/boot/grub', '-c', config, ...core.modules];
  await runTool(toolbox, 'usr/bin/grub-mkimage', args);
  return readFile(out);
}

/** The UEFI program for EFI/BOOT/BOOTX64.EFI: finds the root file system by its UUID and reads grub.cfg there. */
export function makeUefiGrub(toolbox: Toolbox, scratch: string, rootId: string): Promise<Buffer> {
  return makeCore(toolbox, scratch, { platform: 'x86_64-efi', rootId, modules: [...COMMON, 'fat', 'efi_gop'] });
}

/**
 * GRUB for BIOS: `boot` is the code of the first sector (440 bytes), `core` goes to `coreSector` (a BIOS boot
 * partition). What grub-install would patch in is patched here: where the core lies (boot.img offset 0x5c, the
 * last 12 bytes of the core's first sector), and the guard against BIOSes that pass a wrong drive (offset 0x66).
 * Source: grub-core/boot/i386/pc/{boot,diskboot}.S and util/setup.c of GRUB.
 */
export async function makeBiosGrub(
  toolbox: Toolbox,
  scratch: string,
  options: { rootId: string; coreSector: number },
): Promise<{ boot: Buffer; core: Buffer }> {
  const core = await makeCore(toolbox, scratch, { platform: 'i386-pc', rootId: options.rootId, modules: [...COMMON, 'biosdisk'] });
  const boot = await readFile(join(toolbox.tree, 'usr/lib/grub/i386-pc/boot.img'));
  boot.writeBigUInt64LE(BigInt(options.coreSector), 0x5c);
  boot.set([0x90, 0x90], 0x66);
  core.writeBigUInt64LE(BigInt(options.coreSector + 1), SECTOR - 12);
  core.writeUInt16LE(Math.ceil(core.length / SECTOR) - 1, SECTOR - 4);
  return { boot: boot.subarray(0, 440), core };
}
