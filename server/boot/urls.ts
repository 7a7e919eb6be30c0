import type { Site } from '../site.ts';

/** `http://HOST[:PORT]` without a port that the scheme implies. `host` is a name or an address; IPv6 in brackets. */
export function baseUrl(scheme: 'http' | 'https', host: string, port: number): string {
  const isImplied = port === (scheme === 'http' ? 80 : 443);
  return isImplied ? `${scheme}://${host}` : `${scheme}://${host}:${port}`;
}

/** Where a target reaches us, by the origin it used for the boot script or what the configuration advertises. No slash at the end. */
export function targetUrls(site: Pick<Site, 'config'>, origin: string): { readonly http: string; readonly https: string } {
  const { advertise } = site.config;
  const host = new URL(origin).hostname;
  return {
    http: (advertise.http ?? origin).replace(/\/+$/, ''),
    https: (advertise.https ?? baseUrl('https', host, site.config.httpsPort)).replace(/\/+$/, ''),
  };
}
