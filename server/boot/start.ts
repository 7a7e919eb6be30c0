import { AppError, describeError } from '../../core/errors.ts';
import { addressLookup } from '../dhcp/addresses.ts';
import type { PxeOffer, PxePort } from '../dhcp/answer.ts';
import { adoptSocket, type PxeSocket, startProxyDhcp } from '../dhcp/listener.ts';
import { type Sightings, sightingQueue } from '../dhcp/sightings.ts';
import { missingSockets } from '../launcher/launch.ts';
import { type PassedSockets, passedSockets } from '../launcher/passed-sockets.ts';
import type { Site } from '../site.ts';
import { seeTarget } from '../targets.ts';
import { startTftp } from '../tftp/listener.ts';
import { mtuLookup } from '../tftp/mtu.ts';
import { loaderFiles } from './loaders.ts';
import { baseUrl } from './urls.ts';

export type BootServices = {
  readonly tftpPort: number;
  /** Stops answering; may be called twice. */
  close(): Promise<void>;
};

/** The field `file` of a DHCP packet has 128 octets; `/boot.ipxe` comes behind. */
const MAX_URL = 110;

type Closer = () => Promise<void>;

/**
 * Starts what firmware talks to before HTTP: TFTP always, proxyDHCP when `pxe` is `proxy`. The
 * configuration must hold the ports that the HTTP listeners really have, because answers name them.
 *
 * Errors: `port_in_use`, `denied` (TFTP); `config` when `pxe` is `proxy` and nobody passed the sockets.
 */
export async function startBootServices(site: Site, env: NodeJS.ProcessEnv = process.env): Promise<BootServices> {
  const closers: Closer[] = [];
  const close = async () => {
    await Promise.all(closers.splice(0).map((closer) => closer()));
  };
  try {
    const tftp = await startTftp({ port: site.config.tftpPort, files: loaderFiles(site), log: site.log, mtuTowards: mtuLookup() });
    closers.push(() => tftp.close());
    if (site.config.pxe === 'proxy') closers.push(await startProxy(site, env));
    return { tftpPort: tftp.port, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function startProxy(site: Site, env: NodeJS.ProcessEnv): Promise<Closer> {
  const passed = passedSockets(env, process.pid);
  const sockets = await adoptAll(passed);
  if (sockets.length === 0) throw missingSockets();
  const sightings = recordSightings(site);
  const offerOn = offers(site);
  const proxy = startProxyDhcp({
    sockets,
    offerOn,
    onSeen: (mac, client) => sightings.note({ mac, client, at: site.now() }),
    log: site.log,
  });
  site.log.info('answering PXE clients', { interfaces: [...new Set(sockets.map(({ interfaceName }) => interfaceName))] });
  return async () => {
    await proxy.close();
    await sightings.settled();
  };
}

async function adoptAll(passed: PassedSockets): Promise<PxeSocket[]> {
  const sockets: PxeSocket[] = [];
  for (const [name, fds] of passed) {
    const [, port, interfaceName] = /^(dhcp|pxe)\.(.+)$/.exec(name) ?? [];
    if (port === undefined || interfaceName === undefined) continue;
    for (const fd of fds) sockets.push({ socket: await adoptSocket(fd), interfaceName, port: port as PxePort });
  }
  return sockets;
}

/** What each interface tells: its own address, unless the configuration advertises another. */
function offers(site: Site): (interfaceName: string) => PxeOffer | undefined {
  const addressOf = addressLookup();
  const { advertise, httpPort } = site.config;
  if ((advertise.http?.length ?? 0) > MAX_URL) throw longUrl();
  return (interfaceName) => {
    const address = addressOf(interfaceName);
    if (address === undefined) return undefined;
    const http = advertise.http?.replace(/\/+$/, '') ?? baseUrl('http', address, httpPort);
    return { address, tftpAddress: isIpv4(advertise.tftp) ? advertise.tftp : address, scriptUrl: `${http}/boot.ipxe` };
  };
}

function longUrl(): AppError {
  return new AppError('config', `advertise.http is longer than ${MAX_URL} characters`, {
    hint: 'a PXE answer has no room for it; use a shorter name',
  });
}

function isIpv4(text: string | undefined): text is string {
  return text !== undefined && /^\d{1,3}(\.\d{1,3}){3}$/.test(text);
}

/**
 * Only the MAC address is taken from DHCP. Firmwares disagree about the byte order of option 97 (EDK2 copies SMBIOS
 * as it lies there, iPXE puts it in order), so the UUID comes from the boot script, where iPXE writes it as text.
 */
function recordSightings(site: Site): Sightings {
  return sightingQueue(
    async ({ mac, client, at }) => {
      const { arch, firmware } = client;
      const activity = client.isIpxe ? 'asking for its boot script' : 'asking for a boot loader';
      await seeTarget(site, { macs: [mac], arch, firmware, environment: 'firmware', activity, discoveredBy: 'dhcp', at });
    },
    (error) => site.log.warn('pxe: a machine could not be written down', { error: describeError(error).message }),
  );
}
