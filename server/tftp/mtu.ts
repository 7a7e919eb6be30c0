import { readFileSync } from 'node:fs';
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';

const ETHERNET_MTU = 1_500;

/**
 * The largest packet towards an IPv4 address: the MTU of the interface whose network it is on, or of
 * Ethernet when it is behind a router. Interfaces are looked at again after `maxAgeMs`.
 */
export function mtuLookup(maxAgeMs = 30_000, clock: () => number = () => performance.now()): (address: string) => number {
  let networks: readonly Network[] = [];
  let readAtMs = Number.NEGATIVE_INFINITY;
  return (address) => {
    if (clock() - readAtMs >= maxAgeMs) {
      networks = readNetworks();
      readAtMs = clock();
    }
    const number = ipv4Number(address);
    const network = networks.find(({ base, mask }) => (number & mask) === base);
    return network?.mtuBytes ?? ETHERNET_MTU;
  };
}

type Network = { readonly base: number; readonly mask: number; readonly mtuBytes: number };

function readNetworks(): Network[] {
  return Object.entries(networkInterfaces()).flatMap(([name, entries]) =>
    (entries ?? []).filter(isIpv4).map((entry) => networkOf(name, entry)),
  );
}

function isIpv4(entry: NetworkInterfaceInfo): boolean {
  return entry.family === 'IPv4';
}

function networkOf(name: string, entry: NetworkInterfaceInfo): Network {
  const mask = ipv4Number(entry.netmask);
  return { base: ipv4Number(entry.address) & mask, mask, mtuBytes: readMtu(name) };
}

function readMtu(name: string): number {
  try {
    const mtu = Number(readFileSync(`/sys/class/net/${name}/mtu`, 'utf8'));
    return Number.isInteger(mtu) && mtu > 0 ? mtu : ETHERNET_MTU;
  } catch {
    return ETHERNET_MTU; // the interface went away between the two looks, or there is no sysfs
  }
}

function ipv4Number(address: string): number {
  return address.split('.').reduce((number, octet) => (number << 8) | Number(octet), 0) | 0;
}
