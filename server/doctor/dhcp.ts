import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { networkInterfaces } from 'node:os';
import type { Mac } from '../../core/ids.ts';
import type { Config } from '../config.ts';
import { OPTION } from '../dhcp/options.ts';
import { type DhcpPacket, decodeDhcp, encodeDhcp, MESSAGE } from '../dhcp/packet.ts';
import { type Finding, ok, unknown, warn } from './finding.ts';

const LISTEN_MS = 3000;
const CLIENT_PORT = 68;
const SERVER_PORT = 67;
const BROADCAST_FLAG = 0x8000;

/**
 * Asks for an offer (RFC 2131 §3.1, DHCPDISCOVER; nothing is requested, so no address is taken) on every interface
 * of the PXE answer, and says who offers: a network needs one DHCP server, and one that names a boot file of
 * its own competes with us. It is no PXE request, so no server records this machine as a target.
 */
export async function checkDhcp(config: Pick<Config, 'pxe'>, interfaces: () => readonly string[]): Promise<readonly Finding[]> {
  if (config.pxe === 'off') return [ok('DHCP servers', 'not looked for: pxe is off')];
  try {
    return await Promise.all(interfaces().map(checkInterface));
  } catch (error) {
    return [unknown('DHCP servers', (error as Error).message, 'correct the interfaces')];
  }
}

async function checkInterface(name: string): Promise<Finding> {
  const label = `DHCP servers on ${name}`;
  const entry = networkInterfaces()[name]?.find((address) => address.family === 'IPv4');
  if (entry === undefined) return unknown(label, 'the interface has no IPv4 address', 'give it one');
  try {
    return judge(label, await collectOffers(entry.address, entry.mac as Mac));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
    return unknown(label, `could not ask (${code})`, 'run doctor as root while no DHCP client holds port 68');
  }
}

/** What the offers mean. Each server counts once. */
export function judge(label: string, offers: readonly DhcpPacket[]): Finding {
  const byServer = new Map(offers.map((offer) => [serverOf(offer), offer]));
  const giving = [...byServer].filter(([, offer]) => offer.yiaddr !== '0.0.0.0');
  const booting = [...byServer].filter(([, offer]) => offer.file !== '' || offer.options.has(OPTION.bootFile));
  if (booting.length > 0) {
    const names = booting.map(([server]) => server).join(', ');
    return warn(
      label,
      `${names} names a boot file of its own`,
      'remove its boot options (next-server, filename, 66, 67): two answers compete',
    );
  }
  if (giving.length === 0)
    return warn(label, 'none answered within 3 s', 'machines need a DHCP server for their address: check cabling and server');
  return ok(label, `${giving.map(([server, offer]) => `${server} offers ${offer.yiaddr}`).join(', ')}, no boot file`);
}

function serverOf(offer: DhcpPacket): string {
  const identifier = offer.options.get(OPTION.serverId);
  return identifier?.length === 4 ? identifier.join('.') : offer.siaddr;
}

async function collectOffers(address: string, mac: Mac): Promise<readonly DhcpPacket[]> {
  const xid = randomBytes(4).readUInt32BE();
  const offers: DhcpPacket[] = [];
  // Replies to 255.255.255.255 reach only a socket that is bound to no address; the one that sends is bound to
  // the interface's, because the kernel takes the interface of a limited broadcast from its source address.
  const receiver = await bindSocket('0.0.0.0');
  try {
    receiver.on('message', (bytes) => {
      const packet = decodeOffer(bytes, xid);
      if (packet !== undefined) offers.push(packet);
    });
    const sender = await bindSocket(address);
    try {
      sender.setBroadcast(true);
      await send(sender, discover(xid, mac));
      await new Promise((resolve) => setTimeout(resolve, LISTEN_MS));
    } finally {
      sender.close();
    }
  } finally {
    receiver.close();
  }
  return offers;
}

function decodeOffer(bytes: Buffer, xid: number): DhcpPacket | undefined {
  try {
    const packet = decodeDhcp(bytes);
    return packet.op === 'reply' && packet.xid === xid ? packet : undefined;
  } catch {
    // Whatever else arrives on this port is not an answer to us.
    return undefined;
  }
}

function discover(xid: number, mac: Mac): Buffer {
  const none = '0.0.0.0';
  const options = new Map([
    [OPTION.messageType, Buffer.from([MESSAGE.discover])],
    // Mask, router, TFTP server, boot file, vendor options: what we want to see in the offer.
    [OPTION.parameters, Buffer.from([1, 3, 66, 67, 43])],
  ]);
  return encodeDhcp({
    ...{ op: 'request', hops: 0, xid, secs: 0, flags: BROADCAST_FLAG, mac, serverName: '', file: '', options },
    ...{ ciaddr: none, yiaddr: none, siaddr: none, giaddr: none },
  });
}

async function bindSocket(address: string): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', reuseAddr: true });
  socket.bind({ port: CLIENT_PORT, address });
  try {
    await once(socket, 'listening');
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

function send(socket: Socket, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.send(bytes, SERVER_PORT, '255.255.255.255', (error) => (error === null ? resolve() : reject(error)));
  });
}
