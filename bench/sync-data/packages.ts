import { type DebianPackage, fetchPackages } from '../../server/engine/debian/packages.ts';

/** What is on the disk before and after: two generations of the same Debian, as the mirror has them today. */
export type Generations = {
  readonly base: readonly DebianPackage[];
  /** Newer versions of packages of `base`. */
  readonly upgraded: readonly DebianPackage[];
  /** Packages that `base` has not. */
  readonly added: readonly DebianPackage[];
  /** The package of the next kernel ABI, and the folder names of the one that goes. */
  readonly kernel: readonly DebianPackage[];
  readonly oldKernel: string;
};

/** The release without its security updates is the older generation, with them the newer one. */
const RELEASE = 'bookworm';
const KERNEL_META = 'linux-image-amd64';

/** About 1 GB with dependencies. */
const BASE = [
  ...['base-files', 'base-passwd', 'bash', 'coreutils', 'dash', 'debianutils', 'findutils', 'grep', 'gzip', 'hostname', 'iproute2'],
  ...['iputils-ping', 'kmod', 'login', 'mawk', 'mount', 'passwd', 'procps', 'sed', 'systemd', 'systemd-sysv', 'tar', 'udev', 'util-linux'],
  ...['dpkg', 'apt', 'openssh-server', 'openssh-client', 'python3', 'python3-requests', 'python3-yaml', 'python3-pip', 'git', 'perl'],
  ...['curl', 'wget', 'vim', 'less', 'rsync', 'ca-certificates', 'gnupg', 'sudo', 'locales', 'e2fsprogs', 'initramfs-tools', 'openssl'],
  ...['bind9-dnsutils', 'tcpdump', 'strace', 'lsof', 'jq', 'screen', 'tmux', 'nginx-light', 'chrony', 'rsyslog', 'cron', 'logrotate'],
  ...['build-essential', KERNEL_META],
];

const ADDED = ['htop', 'tree', 'nano', 'mtr-tiny', 'iperf3', 'ethtool', 'parted', 'pv', 'zip', 'unzip', 'rename'];

/** Fetches both generations into the cache. Errors: those of `fetchPackages`. */
export async function fetchGenerations(cacheDir: string): Promise<Generations> {
  const common = { cacheDir, arch: 'amd64' } as const;
  const base = await fetchPackages({ ...common, packages: BASE, release: RELEASE });
  const newer = await fetchPackages({ ...common, packages: [...BASE, ...ADDED] });
  const held = new Map(base.map((deb) => [deb.name, deb]));
  const fresh = newer.filter((deb) => held.get(deb.name)?.sha256 !== deb.sha256);
  const kernel = fresh.filter(({ name }) => name.startsWith('linux-'));
  const oldKernel = base.find(({ name }) => /^linux-image-[0-9]/.test(name))?.name.replace('linux-image-', '');
  if (oldKernel === undefined || kernel.length === 0) throw new Error('the mirror has one kernel only: there is nothing to compare');
  const others = fresh.filter((deb) => !kernel.includes(deb));
  return {
    base,
    upgraded: others.filter(({ name }) => held.has(name)),
    added: others.filter(({ name }) => !held.has(name)),
    kernel,
    oldKernel,
  };
}
