import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import type { Config } from '../config.ts';
import { type Finding, fail, ok } from './finding.ts';

type Port = { readonly name: string; readonly protocol: 'tcp' | 'udp'; readonly port: number };

/** Tries to open every port of the configuration and closes it again; a running server has them already. */
export async function checkPorts(
  config: Pick<Config, 'httpPort' | 'httpsPort' | 'tftpPort' | 'pxe'>,
  isServerUp: boolean,
): Promise<readonly Finding[]> {
  const ports: readonly Port[] = [
    { name: 'boot (HTTP)', protocol: 'tcp', port: config.httpPort },
    { name: 'API (HTTPS)', protocol: 'tcp', port: config.httpsPort },
    { name: 'TFTP', protocol: 'udp', port: config.tftpPort },
    ...(config.pxe === 'proxy' ? ([67, 4011] as const).map((port) => ({ name: 'PXE', protocol: 'udp' as const, port })) : []),
  ];
  return Promise.all(ports.map((port) => checkPort(port, isServerUp)));
}

async function checkPort({ name, protocol, port }: Port, isServerUp: boolean): Promise<Finding> {
  const label = `port ${port}/${protocol}`;
  if (port === 0) return ok(label, `${name}: any free port`);
  if (isServerUp) return ok(label, `${name}: the running server has it`);
  const code = await (protocol === 'tcp' ? tryTcp(port) : tryUdp(port));
  if (code === undefined) return ok(label, `${name}: free`);
  if (code === 'EADDRINUSE') {
    const flag = protocol === 'tcp' ? 't' : 'u';
    return fail(
      label,
      `${name}: in use by another program`,
      `"ss -l${flag}np sport = :${port}" shows by what; stop it or choose another port`,
    );
  }
  return fail(label, `${name}: cannot be opened (${code})`, 'run as root or with CAP_NET_BIND_SERVICE, or choose a port from 1024');
}

function tryTcp(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code));
    server.listen({ port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

function tryUdp(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.once('error', (error: NodeJS.ErrnoException) => {
      socket.close();
      resolve(error.code);
    });
    socket.bind({ port, exclusive: true }, () => socket.close(() => resolve(undefined)));
  });
}
