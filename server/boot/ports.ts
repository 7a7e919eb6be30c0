import type { Site } from '../site.ts';

/** The ports that the HTTP listeners got, which differ from the configuration when that says 0. */
export type BoundPorts = { readonly httpPort: number; readonly httpsPort: number };

/** Of each site that serves; the entry goes with the site. Routes are data made before any port is bound, hence a table. */
const BOUND = new WeakMap<object, BoundPorts>();

export function announcePorts(site: Site, ports: BoundPorts): void {
  BOUND.set(site, ports);
}

/** What was announced, or what the configuration says while nothing was. */
export function portsOf(site: Site): BoundPorts {
  return BOUND.get(site) ?? { httpPort: site.config.httpPort, httpsPort: site.config.httpsPort };
}

/** `http://HOST[:PORT]` without a port that the scheme implies. `host` is a name or an address; IPv6 in brackets. */
export function baseUrl(scheme: 'http' | 'https', host: string, port: number): string {
  const isImplied = port === (scheme === 'http' ? 80 : 443);
  return isImplied ? `${scheme}://${host}` : `${scheme}://${host}:${port}`;
}

/** Where a target reaches us, by the origin it used for the boot script or what the configuration advertises. No slash at the end. */
export function targetUrls(site: Site, origin: string): { readonly http: string; readonly https: string } {
  const { advertise } = site.config;
  const host = new URL(origin).hostname;
  return {
    http: (advertise.http ?? origin).replace(/\/+$/, ''),
    https: (advertise.https ?? baseUrl('https', host, portsOf(site).httpsPort)).replace(/\/+$/, ''),
  };
}
