/** What an engine is made of. A change here changes the engine's digest, as it must. */

/** Programs of the boot environment; their libraries come with them. */
export const ENGINE_PACKAGES = ['busybox-static', 'kmod', 'efibootmgr', 'e2fsprogs', 'fdisk', 'libstdc++6', 'libgcc-s1', 'libc6'] as const;

/** Programs the build itself runs. */
export const BUILD_PACKAGES = ['kmod'] as const;

/** Of the closure of ENGINE_PACKAGES only these and libraries are unpacked. */
export function isEnginePackage(name: string): boolean {
  return (ENGINE_PACKAGES as readonly string[]).includes(name) || /^lib/.test(name);
}

/** The package that holds a kernel, not the one that only points at it. */
export function isKernelPackage(name: string): boolean {
  return /^linux-image-\d/.test(name) && !/-(dbg|unsigned)$/.test(name);
}

const LEFT_OUT = [
  /^usr\/share\//,
  /^usr\/lib\/(systemd|udev|locale|modprobe\.d|initramfs-tools|e2fsprogs|ssl|perl)/,
  /^usr\/lib\/[^/]+\/(gconv|audit|perl|engines-3|ossl-modules|security)(\/|$)/,
  /^etc\/(cron|init|systemd|logrotate)/,
  /^usr\/s?bin\/(e2scrub|e2scrub_all|lsattr|chattr|filefrag|e4crypt|cfdisk|logsave|e2undo|e4defrag|mklost\+found)$/,
  /^usr\/lib\/modules\/[^/]+\/(modules\.symbols|modules\.symbols\.bin|modules\.order)$/,
  /^var\//,
  /^boot(\/|$)/,
];

/** Which paths of the unpacked tree go into the engine. */
export function isInEngine(path: string): boolean {
  return !LEFT_OUT.some((pattern) => pattern.test(path));
}

/** Loaders from Debian's ipxe package, by the name firmware asks for. */
export const LOADERS = [
  { name: 'undionly.kpxe', path: 'usr/lib/ipxe/undionly.kpxe' },
  { name: 'snponly.efi', path: 'usr/lib/ipxe/snponly.efi' },
] as const;
