import { chmod, copyFile, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { DebianPackage } from '../../../server/engine/debian/packages.ts';
import type { Toolbox } from '../../../server/engine/debian/toolbox.ts';
import { makeTree, unpackPackages } from '../../../server/engine/debian/unpack-process.ts';
import { depmod, findKernel } from '../../../server/engine/kernel.ts';
import { makeRootInitrd } from './initrd.ts';

const FILES = join(import.meta.dirname, 'files');

/** What is installed; dependencies come with it. */
export const IMAGE_PACKAGES = [
  'base-files',
  'base-passwd',
  'bash',
  'coreutils',
  'curl',
  'dash',
  'debianutils',
  'findutils',
  'grep',
  'gzip',
  'hostname',
  'iproute2',
  'iputils-ping',
  'jq',
  'kmod',
  'linux-image-cloud-amd64',
  'login',
  'mawk',
  'mount',
  'passwd',
  'procps',
  'sed',
  'systemd',
  'systemd-sysv',
  'tar',
  'udev',
  'util-linux',
  'busybox-static',
] as const;

/** Needed only by maintainer scripts, which do not run, or by an initramfs that we make ourselves. */
const NOT_INSTALLED = [
  'debconf',
  'adduser',
  'initramfs-tools',
  'initramfs-tools-core',
  'klibc-utils',
  'libklibc',
  'linux-base',
  'dpkg',
  'cpio',
];

export function isImagePackage(name: string): boolean {
  return !NOT_INSTALLED.includes(name) && !/^perl|^libperl/.test(name);
}

const USERS = ['systemd-network:!*:998:998:systemd Network Management:/:/usr/sbin/nologin'];
const GROUPS = ['systemd-journal:x:999:', 'systemd-network:x:998:', 'input:x:997:', 'sgx:x:996:', 'kvm:x:995:', 'render:x:994:'];

/** Seconds since 1970 of every file in the image. */
export const IMAGE_TIME = 1_700_000_000;

/** Files with another group than root, by path. */
export const SPECIAL_GROUPS: Readonly<Record<string, string>> = { 'etc/shadow': 'shadow' };

const GRUB_CONFIG = (rootId: string) => `set timeout=0
if [ "$grub_platform" = pc ]; then
  serial --unit=0 --speed=115200
  terminal_output console serial
fi
menuentry "Debian" {
  linux /vmlinuz root=UUID=${rootId} console=tty0 console=ttyS0,115200 quiet
  initrd /initrd.img
}
`;

async function write(tree: string, path: string, text: string, mode = 0o644): Promise<void> {
  await mkdir(dirname(join(tree, path)), { recursive: true });
  await writeFile(join(tree, path), text);
  await chmod(join(tree, path), mode);
}

/** What base-passwd, base-files and passwd would write in their maintainer scripts. */
async function writeAccounts(tree: string): Promise<void> {
  const master = join(tree, 'usr/share/base-passwd');
  const users = (await readFile(join(master, 'passwd.master'), 'utf8')).replaceAll(':*:', ':x:');
  await write(tree, 'etc/passwd', users + USERS.map((line) => `${line.replace(':!*:', ':x:')}\n`).join(''));
  await write(
    tree,
    'etc/group',
    (await readFile(join(master, 'group.master'), 'utf8')).replaceAll(':*:', ':x:') + GROUPS.map((line) => `${line}\n`).join(''),
  );
  const names = (await readFile(join(tree, 'etc/passwd'), 'utf8')).split('\n').map((line) => line.split(':')[0] ?? '');
  const locked = names.filter((name) => name !== '').map((name) => `${name}:*:19000:0:99999:7:::\n`);
  await write(tree, 'etc/shadow', locked.join(''), 0o640);
}

async function writeSettings(tree: string, rootId: string, espId: string): Promise<void> {
  const fstab = `UUID=${rootId} / ext4 defaults,errors=remount-ro 0 1\nUUID=${espId} /boot/efi vfat umask=0077,nofail,x-systemd.automount 0 2\n`;
  await write(tree, 'etc/fstab', fstab);
  await write(tree, 'etc/hostname', 'debian\n');
  await write(tree, 'etc/hosts', '127.0.0.1 localhost\n127.0.1.1 debian\n::1 localhost\n');
  await write(tree, 'etc/machine-id', '', 0o444);
  await write(tree, 'etc/resolv.conf', '');
  await write(tree, 'etc/nsswitch.conf', 'passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n');
  await write(tree, 'boot/grub/grub.cfg', GRUB_CONFIG(rootId));
  for (const path of ['etc/.updated', 'var/.updated']) await write(tree, path, `TIMESTAMP_NSEC=${IMAGE_TIME}000000000\n`);
  for (const path of ['boot/efi', 'proc', 'sys', 'dev', 'run', 'mnt', 'root', 'home', 'tmp', 'var/tmp', 'var/log/journal']) {
    await mkdir(join(tree, path), { recursive: true });
  }
}

async function enable(tree: string, unit: string, wantedBy: string, from = '/usr/lib/systemd/system'): Promise<void> {
  const folder = join(tree, 'etc/systemd/system', wantedBy);
  await mkdir(folder, { recursive: true });
  await symlink(`${from}/${unit}`, join(folder, unit));
}

async function writeServices(tree: string): Promise<void> {
  const service = 'waystation-first-boot.service';
  await mkdir(join(tree, 'usr/lib/waystation'), { recursive: true });
  await mkdir(join(tree, 'etc/systemd/network'), { recursive: true });
  await copyFile(join(FILES, 'first-boot'), join(tree, 'usr/lib/waystation/first-boot'));
  await chmod(join(tree, 'usr/lib/waystation/first-boot'), 0o755);
  await copyFile(join(FILES, service), join(tree, 'etc/systemd/system', service));
  await copyFile(join(FILES, '80-dhcp.network'), join(tree, 'etc/systemd/network/80-dhcp.network'));
  for (const path of [`etc/systemd/system/${service}`, 'etc/systemd/network/80-dhcp.network']) await chmod(join(tree, path), 0o644);
  await enable(tree, service, 'multi-user.target.wants', '/etc/systemd/system');
  await enable(tree, 'systemd-networkd.service', 'multi-user.target.wants');
  await enable(tree, 'systemd-networkd.socket', 'sockets.target.wants');
  for (const unit of MASKED) await symlink('/dev/null', join(tree, 'etc/systemd/system', unit));
  await rm(join(tree, 'etc/systemd/system/default.target'), { force: true });
  await symlink('/usr/lib/systemd/system/multi-user.target', join(tree, 'etc/systemd/system/default.target'));
}

/** Not needed by a server without a screen, and each costs a process under emulation. */
const MASKED = [
  'getty-static.service',
  'getty@tty1.service',
  'modprobe@drm.service',
  'modprobe@fuse.service',
  'modprobe@dm_mod.service',
  'modprobe@loop.service',
  'sys-fs-fuse-connections.mount',
  'dev-hugepages.mount',
  'dev-mqueue.mount',
  'sys-kernel-debug.mount',
  'sys-kernel-tracing.mount',
  'systemd-update-utmp.service',
  'systemd-update-utmp-runlevel.service',
  'systemd-logind.service',
  'systemd-pstore.service',
  // What these would do after an update is done here, or not wanted.
  'ldconfig.service',
  'systemd-hwdb-update.service',
  'systemd-journal-catalog-update.service',
];

async function settleKernel(tree: string, toolbox: Toolbox): Promise<void> {
  const kernel = await findKernel(tree);
  await depmod(toolbox, tree, kernel.release);
  const initrd = join(tree, `boot/initrd.img-${kernel.release}`);
  await writeFile(initrd, await makeRootInitrd(tree, kernel.release, join(FILES, 'initrd-init')));
  await chmod(initrd, 0o644);
  await symlink(`boot/vmlinuz-${kernel.release}`, join(tree, 'vmlinuz'));
  await symlink(`boot/initrd.img-${kernel.release}`, join(tree, 'initrd.img'));
}

/** The root file system as a folder: packages unpacked, then what their maintainer scripts and an installer would do. */
export async function makeRootTree(
  tree: string,
  packages: readonly DebianPackage[],
  options: { toolbox: Toolbox; rootId: string; espId: string; withoutKernel: boolean },
): Promise<void> {
  await makeTree(tree);
  await unpackPackages(packages, tree);
  await writeAccounts(tree);
  await writeSettings(tree, options.rootId, options.espId);
  await writeServices(tree);
  await symlink('dash', join(tree, 'usr/bin/sh')).catch(ignoreExisting);
  await symlink('mawk', join(tree, 'usr/bin/awk')).catch(ignoreExisting);
  await settleKernel(tree, options.toolbox);
  if (options.withoutKernel) await removeKernel(tree);
}

function ignoreExisting(cause: NodeJS.ErrnoException): void {
  if (cause.code !== 'EEXIST') throw cause;
}

/** What a careless cleanup leaves: a boot loader whose kernel is gone. */
async function removeKernel(tree: string): Promise<void> {
  const kernel = await findKernel(tree);
  await rm(kernel.vmlinuz);
}
