import type { PxeClient } from './client.ts';
import { type DhcpOptions, OPTION } from './options.ts';
import { type DhcpPacket, MESSAGE } from './packet.ts';

/** Which of our two ports heard the question: 67 (beside the DHCP server) or 4011 (asked on purpose). */
export type PxePort = 'dhcp' | 'pxe';

/** What one interface tells its clients; worked out when the interface is opened, not per packet. */
export type PxeOffer = {
  /** Our address on this interface. */
  readonly address: string;
  /** Where TFTP is: `address`, or what the configuration advertises. */
  readonly tftpAddress: string;
  readonly scriptUrl: string;
};

/** iPXE reads `next-server` and `filename`; firmware gets the path of its loader in the TFTP tree. */
function loaderPath(client: Pick<PxeClient, 'arch' | 'firmware'>): string {
  return `boot/${client.arch}/${client.firmware === 'bios' ? 'undionly.kpxe' : 'snponly.efi'}`;
}

/**
 * The answer to a PXE client, or undefined when there is none to give on this port: DHCPDISCOVER on 67 gets an offer
 * without an address, DHCPREQUEST and DHCPINFORM on 4011 get the boot file. A request on 67 is for the DHCP server.
 *
 * BIOS ROMs are told to take the file from the offer (option 43: discovery control, bit 3). UEFI gets no option 43:
 * some firmwares drop offers that skip the boot server discovery, and all of them then ask on 4011 (seen by Pixiecore,
 * and what EDK2 does). Source: PXE 2.1 §2.2, RFC 4578, RFC 2131 §4.3.
 */
export function answerPxe(packet: DhcpPacket, client: PxeClient, port: PxePort, offer: PxeOffer): DhcpPacket | undefined {
  const isOffer = port === 'dhcp' && client.message === 'discover';
  const isAck = port === 'pxe' && client.message !== 'discover';
  if (!isOffer && !isAck) return undefined;
  const options = optionsFor(packet, client, offer, isOffer ? MESSAGE.offer : MESSAGE.ack);
  return {
    op: 'reply',
    hops: 0,
    xid: packet.xid,
    secs: 0,
    flags: packet.flags,
    ciaddr: packet.ciaddr,
    yiaddr: '0.0.0.0',
    siaddr: offer.tftpAddress,
    giaddr: packet.giaddr,
    mac: packet.mac,
    serverName: '',
    file: client.isIpxe ? offer.scriptUrl : loaderPath(client),
    options,
  };
}

function optionsFor(packet: DhcpPacket, client: PxeClient, offer: PxeOffer, message: number): DhcpOptions {
  const options = new Map<number, Buffer>([
    [OPTION.messageType, Buffer.from([message])],
    [OPTION.serverId, Buffer.from(offer.address.split('.').map(Number))],
    [OPTION.vendorClass, Buffer.from('PXEClient')],
  ]);
  if (client.uuid !== undefined) options.set(OPTION.clientUuid, client.uuid);
  // PXE_DISCOVERY_CONTROL = 8 (use the boot file of this offer), PXE_END.
  if (client.firmware === 'bios' || client.isIpxe) options.set(OPTION.vendor, Buffer.from([6, 1, 8, 255]));
  // RFC 3046 §2.2: a relay gets its own option back, last.
  const relay = packet.options.get(OPTION.relayAgent);
  if (relay !== undefined && packet.giaddr !== '0.0.0.0') options.set(OPTION.relayAgent, relay);
  return options;
}

/**
 * Where the answer goes. On 4011 the client has an address and asked from it. On 67 it has none: broadcast on
 * the interface that heard it, or to the relay that passed it on. Undefined: the packet names an impossible relay.
 */
export function destinationOf(
  packet: DhcpPacket,
  port: PxePort,
  from: { readonly address: string; readonly port: number },
): { readonly address: string; readonly port: number } | undefined {
  if (port === 'pxe') return from.address === '0.0.0.0' || from.port === 0 ? undefined : from;
  if (packet.giaddr === '0.0.0.0') return { address: '255.255.255.255', port: 68 };
  return isHost(packet.giaddr) && packet.hops > 0 ? { address: packet.giaddr, port: 67 } : undefined;
}

/** A unicast address of another machine: not this network, not loopback, not multicast, not reserved. */
function isHost(address: string): boolean {
  const first = Number(address.split('.')[0]);
  return first > 0 && first !== 127 && first < 224;
}
