import type { IncomingMessage } from 'node:http';
import { isIPv6 } from 'node:net';

const HOST = /^(?:\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)(?::\d{1,5})?$/;

/**
 * Scheme, host and port that the client used to reach us: its Host header when that is a host name or an address with
 * an optional port, else the socket's own address. Whoever puts it into a script must still quote it.
 */
export function originOf(request: IncomingMessage, scheme: 'http' | 'https', fallback: string): string {
  const host = request.headers.host;
  if (host !== undefined && HOST.test(host)) return `${scheme}://${host.toLowerCase()}`;
  const { localAddress, localPort } = request.socket;
  if (localAddress === undefined || localPort === undefined) return fallback;
  return `${scheme}://${hostOf(localAddress)}:${localPort}`;
}

/** An address as people write it: our sockets listen on IPv6, where an IPv4 client is `::ffff:10.0.0.1`. */
export function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/, '');
}

function hostOf(address: string): string {
  const plain = plainAddress(address);
  return isIPv6(plain) ? `[${plain}]` : plain;
}
