/**
 * Which kernel modules go into a boot environment: network and storage drivers and what those need. No sound,
 * graphics, media, wireless: they are four fifths of a Debian kernel.
 */

/** Folders (below lib/modules/VERSION/kernel) of the engine's drivers. */
export const ENGINE_FOLDERS = [
  'drivers/ata',
  'drivers/block',
  'drivers/hid/usbhid',
  'drivers/hv',
  'drivers/md',
  'drivers/message/fusion',
  'drivers/mmc',
  'drivers/net/ethernet',
  'drivers/net/hyperv',
  'drivers/net/mdio',
  'drivers/net/phy',
  'drivers/net/usb',
  'drivers/net/vmxnet3',
  'drivers/nvme',
  'drivers/pci/controller',
  'drivers/scsi',
  'drivers/ufs',
  'drivers/usb/host',
  'drivers/usb/storage',
  'drivers/virtio',
] as const;

/** Single modules: names with `_` for `-`, as modprobe takes both. */
export const ENGINE_MODULES = [
  'virtio_net',
  'net_failover',
  'xen_netfront',
  'ext4',
  'xfs',
  'btrfs',
  'vfat',
  'nls_cp437',
  'nls_iso8859_1',
  'nls_ascii',
  'efivarfs',
  'loop',
  'crc32c_intel',
  'crc32c_generic',
  'crc32_pclmul',
  'usbhid',
  'hid_generic',
  'bonding',
  '8021q',
  'af_packet',
  'nvme_tcp',
] as const;

/** Storage that no bare machine boots from, or that asks for a network of its own. */
const LEFT_OUT = [
  /^drivers\/block\/(drbd|rnbd|aoe|nbd|zram|floppy|pktcdvd|rbd)/,
  /^drivers\/scsi\/(fcoe|bnx2fc|cxgbi|bnx2i|qedf|qedi|libfc|pcmcia|aic94xx|scsi_debug|snic)/,
  /^drivers\/net\/ethernet\/mellanox\/mlxsw/,
  /^drivers\/net\/ethernet\/chelsio\/inline_crypto/,
];

/** `kernel/drivers/net/virtio_net.ko.xz` to `virtio_net`. */
export function moduleName(path: string): string {
  return path
    .slice(path.lastIndexOf('/') + 1)
    .replace(/\.ko(\.(xz|zst|gz))?$/, '')
    .replaceAll('-', '_');
}

/** What depmod wrote: `path: dependency dependency`, paths relative to lib/modules/VERSION. */
export function parseModulesDep(text: string): Map<string, readonly string[]> {
  const lines = text.split('\n').filter((line) => line.includes(':'));
  return new Map(
    lines.map((line) => {
      const [path = '', rest = ''] = line.split(':', 2);
      return [path, rest.split(' ').filter((word) => word !== '')];
    }),
  );
}

function isWanted(path: string, folders: readonly string[], names: ReadonlySet<string>): boolean {
  const inside = path.replace(/^kernel\//, '');
  if (names.has(moduleName(path))) return true;
  return folders.some((folder) => inside.startsWith(`${folder}/`)) && !LEFT_OUT.some((pattern) => pattern.test(inside));
}

/** Paths of the modules in these folders or of these names, with everything they depend on, sorted. */
export function selectModules(dep: ReadonlyMap<string, readonly string[]>, folders: readonly string[], names: readonly string[]): string[] {
  const byName = new Set(names);
  const chosen = new Set<string>();
  const pending = [...dep.keys()].filter((path) => isWanted(path, folders, byName));
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    if (chosen.has(path)) continue;
    chosen.add(path);
    pending.push(...(dep.get(path) ?? []));
  }
  return [...chosen].sort();
}
