import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';
import { AppError } from '../../core/errors.ts';
import type { Config } from '../config.ts';
import { passedSockets } from './passed-sockets.ts';

type Interfaces = NodeJS.Dict<NetworkInterfaceInfo[]>;

/** Whether `serve` must start again through the launcher: the PXE answer needs sockets that Node cannot open. */
export function needsLauncher(config: Pick<Config, 'pxe'>, env: NodeJS.ProcessEnv, pid: number = process.pid): boolean {
  return config.pxe === 'proxy' && passedSockets(env, pid).size === 0;
}

/**
 * The interfaces that the PXE answer listens on: those of the configuration, or all that have an IPv4 address.
 * Errors: `config` for one that does not exist or has no address, and when there is none at all.
 */
export function pxeInterfaces(config: Pick<Config, 'interfaces'>, interfaces: Interfaces = networkInterfaces()): readonly string[] {
  const usable = Object.keys(interfaces).filter((name) => interfaces[name]?.some((entry) => entry.family === 'IPv4' && !entry.internal));
  for (const name of config.interfaces) {
    if (usable.includes(name)) continue;
    throw new AppError('config', `interface "${name}" of the configuration does not exist or has no IPv4 address`, {
      hint: `give it an address, or correct "interfaces" (usable now: ${usable.join(', ') || 'none'})`,
    });
  }
  const chosen = config.interfaces.length > 0 ? config.interfaces : usable;
  if (chosen.length === 0) {
    throw new AppError('config', 'pxe is "proxy" but no interface has an IPv4 address', { hint: 'configure the network, or set pxe: off' });
  }
  return [...new Set(chosen)];
}

/** What the launcher is told to open: NAME=udp:ADDRESS:PORT%INTERFACE, two for each interface. */
export function socketSpecs(interfaces: readonly string[]): readonly string[] {
  return interfaces.flatMap((name) => [`dhcp.${name}=udp:0.0.0.0:67%${name}`, `pxe.${name}=udp:0.0.0.0:4011%${name}`]);
}

/** The error of a server that was to answer PXE clients and was not given the sockets. */
export function missingSockets(): AppError {
  return new AppError('config', 'pxe is "proxy", but no sockets for it were passed to this process', {
    hint: 'start "waystation serve" as root (it goes through its launcher) or from systemd sockets (docs/examples), or set pxe: off',
  });
}
