import type { Arch } from '../../core/image.ts';
import { OPTION } from './options.ts';
import { type DhcpPacket, MESSAGE } from './packet.ts';

/** A machine that asks how to boot, as far as its packet says. */
export type PxeClient = {
  readonly message: 'discover' | 'request' | 'inform';
  readonly arch: Arch;
  readonly firmware: 'bios' | 'uefi';
  /** It is iPXE already, and asks for a script. */
  readonly isIpxe: boolean;
  /** Option 97 as sent, to be sent back. */
  readonly uuid: Buffer | undefined;
};

/** Architecture types of RFC 4578 §2.1 and IANA's registry, as octets of option 93. Others get no answer. */
const ARCHITECTURES: ReadonlyMap<number, Pick<PxeClient, 'arch' | 'firmware'>> = new Map([
  [0, { arch: 'amd64', firmware: 'bios' }],
  [7, { arch: 'amd64', firmware: 'uefi' }],
  // EFI BC: RFC 4578 meant it for EFI byte code, but x64 machines send it (its errata, and seen in the field).
  [9, { arch: 'amd64', firmware: 'uefi' }],
  [11, { arch: 'arm64', firmware: 'uefi' }],
]);

/**
 * What kind of PXE client sent this packet, or undefined when it is none of ours: an ordinary DHCP client, a
 * request to another server, an architecture without a loader, or fields that RFC 4578 does not allow.
 */
export function pxeClientOf(packet: DhcpPacket): PxeClient | undefined {
  const message = messageOf(packet);
  if (packet.op !== 'request' || message === undefined || !isPxeClient(packet)) return undefined;
  const machine = architectureOf(packet);
  const uuid = packet.options.get(OPTION.clientUuid);
  if (machine === undefined || (uuid !== undefined && !isUuidOption(uuid))) return undefined;
  return { message, ...machine, isIpxe: isIpxe(packet), uuid };
}

function messageOf(packet: DhcpPacket): PxeClient['message'] | undefined {
  const value = packet.options.get(OPTION.messageType);
  if (value?.length !== 1) return undefined;
  if (value[0] === MESSAGE.discover) return 'discover';
  if (value[0] === MESSAGE.request) return 'request';
  return value[0] === MESSAGE.inform ? 'inform' : undefined;
}

function isPxeClient(packet: DhcpPacket): boolean {
  return packet.options.get(OPTION.vendorClass)?.subarray(0, 9).toString('latin1') === 'PXEClient';
}

/** Option 93 is a list, the preferred type first. A ROM that leaves it out is an old BIOS one: its class says so, or nothing does. */
function architectureOf(packet: DhcpPacket): Pick<PxeClient, 'arch' | 'firmware'> | undefined {
  const list = packet.options.get(OPTION.clientArch);
  if (list === undefined) return ARCHITECTURES.get(0);
  if (list.length === 0 || list.length % 2 !== 0) return undefined;
  for (let at = 0; at < list.length; at += 2) {
    const machine = ARCHITECTURES.get(list.readUInt16BE(at));
    if (machine !== undefined) return machine;
  }
  return undefined;
}

/** RFC 4578 §2.3: type 0 and 16 octets. */
function isUuidOption(value: Buffer): boolean {
  return value.length === 17 && value[0] === 0;
}

/** iPXE sends user class `iPXE` (77) and its encapsulated options (175); either is enough. */
function isIpxe(packet: DhcpPacket): boolean {
  return packet.options.has(OPTION.etherboot) || packet.options.get(OPTION.userClass)?.toString('latin1').includes('iPXE') === true;
}
