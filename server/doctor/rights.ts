import { readFileSync } from 'node:fs';
import type { Config } from '../config.ts';
import { type Finding, ok, unknown, warn } from './finding.ts';

const CAP_NET_BIND_SERVICE = 10n;

/** Whether this user may open the low ports (capabilities(7)); the ports themselves are tried by `checkPorts`. */
export function checkRights(config: Pick<Config, 'httpPort' | 'httpsPort' | 'tftpPort' | 'pxe'>): readonly Finding[] {
  const lowest = lowestFreePort();
  const low = [config.httpPort, config.httpsPort, config.tftpPort, ...(config.pxe === 'proxy' ? [67] : [])].filter(
    (port) => port > 0 && port < lowest,
  );
  const capabilities = effectiveCapabilities();
  if (capabilities === undefined) return [unknown('rights', 'cannot read the capabilities of this process', 'look at the ports below')];
  if (low.length === 0) return [ok('rights', 'no port of the configuration needs special rights')];
  if ((capabilities >> CAP_NET_BIND_SERVICE) & 1n) return [ok('rights', `ports below ${lowest} may be opened`)];
  return [
    warn(
      'rights',
      `this user may not open ports ${low.join(', ')}`,
      'run serve as root or with CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities), or choose ports from 1024',
    ),
  ];
}

function effectiveCapabilities(): bigint | undefined {
  const line = /^CapEff:\s*([0-9a-f]+)$/m.exec(readText('/proc/self/status') ?? '');
  return line === null ? undefined : BigInt(`0x${line[1]}`);
}

/** Below it a port needs CAP_NET_BIND_SERVICE (ip-sysctl: ip_unprivileged_port_start). */
function lowestFreePort(): number {
  return Number(readText('/proc/sys/net/ipv4/ip_unprivileged_port_start') ?? 1024);
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // No procfs here, as in some containers: the caller says so.
    return undefined;
  }
}
