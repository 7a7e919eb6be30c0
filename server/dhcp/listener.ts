import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { Logger } from 'winston';
import { describeError } from '../../core/errors.ts';
import type { Mac } from '../../core/ids.ts';
import { type LogLimit, logLimit } from '../boot/log-limit.ts';
import { closeSocket } from '../close-socket.ts';
import { answerPxe, destinationOf, type PxeOffer, type PxePort } from './answer.ts';
import { type PxeClient, pxeClientOf } from './client.ts';
import { type DhcpPacket, decodeDhcp, encodeDhcp } from './packet.ts';

/** One socket of one interface; answers leave through the socket that heard the question, and so by its interface. */
export type PxeSocket = { readonly socket: Socket; readonly interfaceName: string; readonly port: PxePort };

export type ProxyDhcpOptions = {
  readonly sockets: readonly PxeSocket[];
  /** What this interface tells; undefined while it has no address. */
  readonly offerOn: (interfaceName: string) => PxeOffer | undefined;
  /** A PXE client was answered. Must return at once. */
  readonly onSeen: (mac: Mac, client: PxeClient) => void;
  readonly log: Pick<Logger, 'debug' | 'warn' | 'error'>;
};

export type ProxyDhcp = { close(): Promise<void> };

type Server = ProxyDhcpOptions & { readonly complain: LogLimit };

/** Takes over a bound UDP socket that was passed as a descriptor. Rejects when it is none. */
export async function adoptSocket(fd: number): Promise<Socket> {
  const socket = createSocket('udp4');
  const listening = once(socket, 'listening');
  socket.bind({ fd });
  await listening;
  return socket;
}

/**
 * Answers PXE clients beside somebody else's DHCP server. Every answer is worked out from the packet and from
 * memory in one turn of the loop; a packet that is not for us or broken gets no answer and stops nothing.
 */
export function startProxyDhcp(options: ProxyDhcpOptions): ProxyDhcp {
  const server: Server = { ...options, complain: logLimit(options.log, 'pxe') };
  for (const entry of options.sockets) {
    entry.socket.on('message', (bytes, from) => onPacket(server, entry, bytes, from));
    entry.socket.on('error', (error) =>
      options.log.error('pxe: a socket failed', { interface: entry.interfaceName, error: error.message }),
    );
  }
  return {
    close: async () => {
      await Promise.all(options.sockets.map(({ socket }) => closeSocket(socket)));
    },
  };
}

function onPacket(server: Server, entry: PxeSocket, bytes: Buffer, from: RemoteInfo): void {
  const packet = decoded(server, entry, bytes, from);
  const client = packet === undefined ? undefined : pxeClientOf(packet);
  if (packet === undefined || client === undefined) return;
  const offer = server.offerOn(entry.interfaceName);
  if (offer === undefined) {
    server.complain('the interface has no address', { interface: entry.interfaceName });
    return;
  }
  const answer = answerPxe(packet, client, entry.port, offer);
  const to = destinationOf(packet, entry.port, from);
  if (answer === undefined || to === undefined) return;
  entry.socket.send(encodeDhcp(answer), to.port, to.address, (error) => {
    if (error) server.complain('cannot answer', { interface: entry.interfaceName, to: to.address, error: error.message });
  });
  server.log.debug('pxe answer', { mac: packet.mac, interface: entry.interfaceName, message: client.message, file: answer.file });
  server.onSeen(packet.mac, client);
}

function decoded(server: Server, entry: PxeSocket, bytes: Buffer, from: RemoteInfo): DhcpPacket | undefined {
  try {
    return decodeDhcp(bytes);
  } catch (error) {
    server.complain('bad packet', { interface: entry.interfaceName, from: from.address, error: describeError(error).message });
    return undefined;
  }
}
